"""Credits: the weight of each token in the loss, such as an advantage. A credit is `f(out, batch, *, …) → credit_N`.

The loop detaches credits, so no gradient flows through them, and multiplies those of a signal.
"""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
