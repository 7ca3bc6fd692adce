"""Results that others can check: `submit` writes a folder per system, `check` compares it with its data and itself."""

from __future__ import annotations

from .check import CheckContext, check
from .folder import Finding, Findings, Submission, read_submission
from .submit import SubmissionInfo, submit

__all__ = ["CheckContext", "Finding", "Findings", "Submission", "SubmissionInfo", "check", "read_submission", "submit"]
