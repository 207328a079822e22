"""Where programs that a model wrote are run, and nowhere else."""

from scalpel.sandbox.sandbox import Limits, Outcome, Unavailable, missing, run_program

__all__ = ["Limits", "Outcome", "Unavailable", "missing", "run_program"]
