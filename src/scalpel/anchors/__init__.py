"""What pulls back, and to where.

On outputs `f(out, batch, *, …) → (penalty_sum, metrics)`; on parameters `f(now, home, *, …) → (penalty, metrics)`.
"""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
