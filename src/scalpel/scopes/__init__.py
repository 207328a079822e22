"""Which parameters may move. A scope is `f(model, hands, *, …) → Scope`."""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
