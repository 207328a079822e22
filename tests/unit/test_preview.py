"""The look before step 1: it shows what is trained and refuses what must not be."""

from dataclasses import replace

import pytest
import torch

import tiny
from scalpel.batch import DEMONSTRATION, ENVIRONMENT, Row, pack
from scalpel.data.example import Example
from scalpel.data.tokenized import Tokenized
from scalpel.data.tokenizer import Tokens
from scalpel.training.preview import preview, rows_of

EXAMPLE = Example(prompt="ab", completion="cde", id="data:1")


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(tiny.tokenizer())


def test_it_counts_trained_tokens_and_marks_two_examples(tokens: Tokens) -> None:
    rows = [tokens.demonstration(EXAMPLE)] * 3  # 2 prompt tokens, 3 of the answer and the end: 4 of 6 are trained
    text = preview(tokens, rows)
    assert text.startswith("12 of 18 tokens are trained (67%), in 3 sequences of 6 tokens")
    assert text.count("ab⟦cde</s>⟧") == 2


def test_a_long_example_shows_both_its_ends(tokens: Tokens) -> None:
    text = preview(tokens, [tokens.demonstration(Example(prompt="start " * 50, completion="end"))], most=20)
    assert "start" in text and "⟦end</s>⟧" in text and "… 284 tokens …" in text


def test_a_run_that_trains_nothing_is_refused(tokens: Tokens) -> None:
    with pytest.raises(ValueError, match="no sequence to train on"):
        preview(tokens, [])
    with pytest.raises(ValueError, match="no trained token, first:\nab"):
        preview(tokens, [Tokenized(tokens.prompt("ab"), [False] * 2, [0] * 2)])


def test_a_row_whose_only_trained_token_is_its_first_trains_nothing(tokens: Tokens) -> None:
    with pytest.raises(ValueError, match="no trained token"):
        preview(tokens, [Tokenized([8, 9], [True, False], [0, 0])])


def test_a_batch_comes_apart_into_its_rows(tokens: Tokens) -> None:
    rows = [tokens.demonstration(EXAMPLE), tokens.demonstration(Example(prompt="f", completion="g"))]
    author = [[DEMONSTRATION if t else ENVIRONMENT for t in row.train] for row in rows]
    batch = pack([Row(row.ids, row.train, a, row.turn) for row, a in zip(rows, author, strict=True)])
    assert rows_of(tokens, batch) == rows
    with pytest.raises(ValueError, match="1 tokens of the prompt of sequence 0"):
        rows_of(
            tokens, replace(batch, train_N=torch.ones_like(batch.train_N).index_fill(0, torch.tensor([0, 6]), False))
        )
