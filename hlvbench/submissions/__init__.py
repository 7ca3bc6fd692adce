"""Results that others can check: a folder per system, made by `submit`, held against itself and the data by `check`."""

from __future__ import annotations

from .check import Desk, check
from .findings import Finding, Findings
from .folder import Submission, read_submission
from .submit import About, submit

__all__ = ["About", "Desk", "Finding", "Findings", "Submission", "check", "read_submission", "submit"]
