"""What a claim may speak of. Each file here registers functions of an arm as a `quantity`; their keyword-only arguments
are the keys that a claim may give them."""

from scalpel.claims.quantities.measured import PERCENT, POINTS, UNITS, Missing, by_seed, quantity
from scalpel.registry import gather_parts

gather_parts(__name__, __path__)

__all__ = ["PERCENT", "POINTS", "UNITS", "Missing", "by_seed", "quantity"]
