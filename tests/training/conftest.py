"""The fixtures of the training tests: a base model, a folder of tasks and trained SFT adapters."""

from tests.trainers import base, sft, tasks_dir

__all__ = ["base", "sft", "tasks_dir"]
