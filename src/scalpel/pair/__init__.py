"""Pairs of two checkpoints of one architecture, before and after training, whoever trained them."""

from scalpel.pair.interpolate import interpolate
from scalpel.pair.pair import Pair

__all__ = ["Pair", "interpolate"]
