"""Sequences given as demonstrations."""

from scalpel.batch import DEMONSTRATION, ENVIRONMENT, Batch, Row, lay
from scalpel.draw import Draw
from scalpel.part import part


@part("source", "demonstrations", gives=frozenset({"demonstration"}))
def demonstrations(draw: Draw) -> Batch:
    """The examples' own completions, prompt untrained.

    Reads    `completion` or `messages` of each example.
    Limits   what `sft` imitates.
    Fails    an example without a completion is refused when the batch is rendered.
    Source   Wei et al. 2021 (arXiv 2109.01652).
    """
    rows = []
    for group, example in enumerate(draw.examples):
        rendered = draw.fit(draw.tokens.demonstration(example))
        if rendered is None:
            continue
        author = [DEMONSTRATION if trained else ENVIRONMENT for trained in rendered.train]
        rows.append(Row(rendered.ids, rendered.train, author, rendered.turn, group, columns=example.columns))
    return lay(rows)
