"""Counts and metrics of a batch that lies on two ranks are those of the whole batch in one process."""

from pathlib import Path

import pytest

import tiny
from ranks import on_ranks
from running import tables
from scalpel.batch import POLICY, Batch, Row, pack
from scalpel.config.plan import Stream, assemble
from scalpel.data.tokenizer import Tokens
from scalpel.distributed.reduce import ranks, sum_over_ranks
from scalpel.engine import Engine
from scalpel.training.step import StepMetrics, backward, outlook, step_context, unsteered

UNEVEN = (9, 2, 5, 3, 7, 1)  # trained tokens a sequence: the mean of two ranks' means would be another number
GRPO = {"method": "grpo", "signals": {"0": {"objective": {"average": "token"}}}}


def batch() -> Batch:
    """Three groups of two, of which one member is rewarded."""
    return pack(
        [
            Row([5, *range(10, 10 + n)], [False] + [True] * n, [POLICY] * (n + 1), group=k // 2, rewards=[float(k % 2)])
            for k, n in enumerate(UNEVEN)
        ]
    )


def stream_of(folder: Path, stage: dict) -> Stream:
    made = tables(folder, stage)
    return assemble(made.stages[0], made).streams[0]


def stepped(stream: Stream, mine: Batch) -> tuple[dict[str, float], float, list[float]]:
    """Means of a step's metrics, its loss, and what each loss was divided by."""
    metrics, engine = StepMetrics(), Engine(tiny.model("llama"), Tokens(tiny.tokenizer()))
    metrics.add("", outlook(mine))
    loss = backward(engine, stream, mine, 0.0, 1, metrics)
    counts = list(step_context(engine, stream, mine, 0.0, unsteered).counts.values())
    metrics.reduce()
    return metrics.means(), sum_over_ranks({"loss": loss})["loss"], counts


def on_rank(rank: int, folder: Path) -> tuple:
    """One group on the first rank, two on the second, which alone has a metric `here`."""
    whole = batch()
    mine = whole.pick(((whole.group_S < 1) == (rank == 0)).nonzero()[:, 0])
    with pytest.raises(ValueError, match="objective 'kto' compares all sequences of a step, which lie on 2 processes"):
        step_context(
            Engine(tiny.model("llama"), Tokens(tiny.tokenizer())),
            stream_of(folder, {"method": "kto"}),
            mine,
            0.0,
            unsteered,
        )
    return (
        ranks(),
        sum_over_ranks({"both": 1.0 + rank, **({"here": 3.0} if rank else {})}),
        stepped(stream_of(folder, GRPO), mine),
    )


def test_two_ranks_count_and_average_as_one_process_does(at) -> None:
    means, loss, counts = stepped(stream_of(at, GRPO), batch())
    assert ranks() == 1 and counts == [sum(UNEVEN)]
    for world, summed, (their_means, their_loss, their_counts) in on_ranks(on_rank, 2, at):
        assert (world, summed, their_counts) == (2, {"both": 3.0, "here": 3.0}, counts)
        assert their_means == pytest.approx(means, rel=1e-6)
        assert their_loss == pytest.approx(loss, rel=1e-5, abs=1e-7)
