"""Replay of old data."""

from scalpel.batch import Batch, Row, pack
from scalpel.data.example import Example, named
from scalpel.data.tokenized import Tokenized
from scalpel.data.tokenizer import Tokens
from scalpel.part import part
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import fitted, rendered_row


def document(tokens: Tokens, text: str) -> Tokenized:
    """A text as a pretraining document: after the beginning token, up to the end token, with every token trained."""
    start, rest = tokens.prompt(""), tokens.completion(text, "")
    return Tokenized([*start, *rest], [False] * len(start) + [True] * len(rest), [0] * (len(start) + len(rest)))


def old_sequences(tokens: Tokens, example: Example) -> list[Tokenized]:
    """The sequences of an old example: its answers if it has any, else its whole text."""
    if example.messages is not None or example.completion is not None:
        return tokens.demonstrations(example)
    text = example.columns.get("text") or example.prompt
    if not isinstance(text, str) or not text:
        raise ValueError(
            f"{named(example)} has neither completion, messages nor text, so there is nothing to replay: add "
            "one of these columns, or take a source that samples its own answers"
        )
    return [document(tokens, text)]


@part("source", "replay", gives=frozenset({"demonstration"}))
def replay(context: SourceContext) -> Batch:
    """Replays old training data beside the new: conversations, prompts with completions, or plain text.

    It is a signal of its own: set the old data by the signal's `task`, its share by `batch` and `weight`. Plain text
    (column `text`, or a prompt without a completion) is trained entirely, as in pretraining.

    Reads    `messages`, `completion`, or `text` of each example.
    Limits   with completions only it is `demonstrations`; weight 0 is training without replay.
    Fails    too little data, or data unlike the abilities to be retained: retention probes fall nevertheless.
    Source   Robins 1995 (Connection Science 7, 123-146); for language models Scialom et al. 2022 (arXiv 2205.12393).
    """
    rows: list[Row] = []
    for group, example in enumerate(context.examples):
        old = [fitted(context, example, row) for row in old_sequences(context.tokens, example)]
        rows += [rendered_row(row, example, group) for row in old if row is not None]
    return pack(rows)
