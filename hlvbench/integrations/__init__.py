"""Other harnesses and formats: lm-eval, inspect-ai, their logs, model cards."""
