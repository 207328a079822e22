"""Rewards: verifiers by name, a user's own functions, and their weighted sum."""

import scalpel.rewards.programs  # noqa: F401  # registers its verifier
from scalpel.rewards.early import Early
from scalpel.rewards.reward import Rewards, Scored, TrainerState

__all__ = ["Early", "Rewards", "Scored", "TrainerState"]
