"""Rewards: verifiers by name, a user's own functions, and their weighted sum."""

from scalpel.rewards.reward import Rewards, Scored, TrainerState

__all__ = ["Rewards", "Scored", "TrainerState"]
