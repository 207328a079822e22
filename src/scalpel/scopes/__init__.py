"""Scopes: which parameters are trainable. A scope is `f(model, context, *, …) → Scope`."""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
