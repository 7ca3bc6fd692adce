"""Rating sheets for human raters out, their ratings in: agreement, preference, and attribution beside the judges'.

A study has three parts that follow each other: who wrote it (the judge's own question, before any
target is named), how good is it (coherence, grounding, style fidelity), and which of two answers is preferred.
"""

from .export import export_study, export_text
from .scoring import score_study
from .study_result import study_markdown, study_text

__all__ = ["export_study", "export_text", "score_study", "study_markdown", "study_text"]
