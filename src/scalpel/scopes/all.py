"""Every parameter moves."""

from torch import nn

from scalpel.part import part
from scalpel.scope import Scope, ScopeContext, let_move


@part("scope", "all")
def everything(model: nn.Module, context: ScopeContext) -> Scope:
    """Every parameter moves: full fine-tuning.

    Reads    all parameters.
    Limits   none: it is the limit of the other scopes.
    Fails    it has the most room to forget; watch the retention probes.
    Source   the ordinary case; Howard & Ruder 2018 (arXiv 1801.06146), section 3.2.
    """
    return Scope(let_move(model, lambda name, parameter: True))
