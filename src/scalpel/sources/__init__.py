"""Where sequences come from.

A source is `f(draw, *, …) → Batch`; a corruption `f(batch, *, mask_id, seed, …) → Batch` changes what is shown.
"""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
