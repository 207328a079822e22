"""What is pushed, which way. An objective is `f(out, batch, *, …) → (loss_sum, metrics)`."""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
