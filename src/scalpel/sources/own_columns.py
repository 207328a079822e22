"""Whether a source uses the data's own columns, or samples from the policy in their place."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Literal

from scalpel.data.example import named
from scalpel.sources.context import SourceContext

Make = Literal["auto", "given", "samples"]
log = logging.getLogger("scalpel")


def from_samples(context: SourceContext, make: Make, missing: Callable[..., bool], columns: str) -> bool:
    """Whether rows are to be sampled. "auto" uses the data's own columns unless none of the examples has them."""
    lacking = [i for i, example in enumerate(context.examples) if missing(example)]
    if make == "auto" and lacking and len(lacking) == len(context.examples):
        say_sampling(columns)
        return True
    if make == "samples":
        return True
    if lacking:
        example = context.examples[lacking[0]]
        raise ValueError(
            f'{named(example, lacking[0])} lacks {columns}: complete the data, or set make = "samples" in '
            "the source, which has the policy write answers that the task's verifier judges"
        )
    return False


@cache
def say_sampling(columns: str) -> None:
    log.info("the data has no %s: the policy writes answers, and the rewards or the verifier judge them", columns)
