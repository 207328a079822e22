"""How much each token counts. A credit is `f(out, batch, *, …) → credit_N`, detached by the loop; credits multiply."""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
