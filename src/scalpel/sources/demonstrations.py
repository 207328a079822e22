"""Demonstrations from the data."""

from scalpel.batch import Batch, Row, pack
from scalpel.data.example import Example
from scalpel.part import part
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import fitted, rendered_row


@part("source", "demonstrations", gives=frozenset({"demonstration"}))
def demonstrations(context: SourceContext) -> Batch:
    """The examples' own completions; the loss is masked on the prompt.

    Reads    `completion` or `messages` of each example.
    Limits   the training data of `sft`.
    Fails    an example without a completion raises when the batch is made.
    Source   Wei et al. 2021 (arXiv 2109.01652), section 2.
    """
    return pack([row for group, example in enumerate(context.examples) for row in shown(context, example, group)])


def shown(context: SourceContext, example: Example, group: int) -> list[Row]:
    """An example's sequences, truncated to the maximum length: one, or one for each turn if the chat template renders
    earlier turns differently as the conversation continues."""
    rows = [fitted(context, example, row) for row in context.tokens.demonstrations(example)]
    return [rendered_row(row, example, group) for row in rows if row is not None]
