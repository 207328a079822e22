"""Quantities that claims compare. Each file registers functions of an arm under the axis `quantity`; their keyword-only
arguments are their keys in claim.toml."""

from scalpel.claims.quantities.measured import PERCENT, POINTS, UNITS, Missing, by_seed, quantity
from scalpel.registry import gather_parts

gather_parts(__name__, __path__)

__all__ = ["PERCENT", "POINTS", "UNITS", "Missing", "by_seed", "quantity"]
