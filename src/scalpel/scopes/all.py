"""Full fine-tuning."""

from torch import nn

from scalpel.part import part
from scalpel.scope import Scope, ScopeContext, train_only


@part("scope", "all")
def everything(model: nn.Module, context: ScopeContext) -> Scope:
    """Makes every parameter trainable: full fine-tuning.

    Reads    all parameters.
    Limits   none: it is the limit of the other scopes.
    Fails    it has the most freedom to forget; watch the retention probes.
    Source   the standard case; Howard & Ruder 2018 (arXiv 1801.06146), section 3.2.
    """
    return Scope(train_only(model, lambda name, parameter: True))
