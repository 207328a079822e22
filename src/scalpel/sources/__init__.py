"""Sources: where the training sequences come from.

A source is `f(context, *, …) → Batch`. A corruption is `f(batch, *, mask_id, seed, …) → Batch`; it changes the model's
input and keeps the targets. `mask_id` is the tokenizer's mask token, None where it has none.
"""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
