"""The reference's log-probs on fixed data are computed once, and nobody can tell but by the cost."""

from dataclasses import replace

import pytest
import torch

from running import equal, ran, tables, weights
from scalpel.batch import POLICY, Row, pack
from scalpel.runs.folder import RunFolder
from scalpel.training.logprob_cache import LogprobCache
from scalpel.training.loop import train

EPOCH = 3  # steps of five of the fifteen rows that are for training
TWO_EPOCHS = {"steps": 2 * EPOCH + 1, "batch": 5, "schedule": "constant"}
KL = {"anchors": [{"name": "kl", "estimator": "k3"}]}
FIXED = {
    "pairs": {"method": "dpo", **TWO_EPOCHS},
    "demonstrations": {"method": "sft", **KL, **TWO_EPOCHS},
    "adapters": {"method": "dpo", "scope": "lora", **TWO_EPOCHS},
}


class Counted:
    """How many sequences the reference scored, step by step."""

    def __init__(self) -> None:
        self.steps = [0]

    def watch(self, run, stage, state) -> bool:
        if state.global_step == 0:
            own = run.engine.score

            def score(batch, role="policy", **more):
                self.steps[-1] += batch.S * (role == "reference")
                return own(batch, role, **more)

            run.engine.score = score
        else:
            self.steps.append(0)
        return False


def forgetful(monkeypatch) -> None:
    """The plain path: nothing is kept."""
    monkeypatch.setattr(LogprobCache, "keep", lambda self, key, logp_n: None)


@pytest.mark.parametrize("name", FIXED)
def test_the_second_epoch_makes_no_pass_of_the_reference_and_learns_the_same(at, tmp_path, name, monkeypatch):
    counted, recipe = Counted(), tables(at, FIXED[name])
    found = weights(train(recipe, RunFolder(tmp_path / "a"), watch=counted.watch))
    assert all(counted.steps[:EPOCH]) and not any(counted.steps[EPOCH:])
    log = RunFolder(tmp_path / "a", True).records("train")
    forgetful(monkeypatch)
    expected, plain = ran(recipe, tmp_path / "b")
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x, rtol=1e-4, atol=1e-6)
    assert [line["loss"] for line in log] == pytest.approx([line["loss"] for line in plain], rel=1e-5, abs=1e-7)
    assert log[EPOCH - 1]["flops"] == plain[EPOCH - 1]["flops"] and log[-1]["flops"] < 0.95 * plain[-1]["flops"]


def test_what_is_shown_otherwise_each_time_is_scored_each_time(at):
    corrupt = [{"name": "masked-thought", "rate": 0.5}]
    signals = [{"source": "demonstrations", "corrupt": corrupt, "objective": "nll"}]
    counted = Counted()
    train(tables(at, {"signals": signals, "batch": 24, "steps": 3, **KL}), watch=counted.watch)
    assert all(n > 12 for n in counted.steps[:3])  # a row of two letters may well be shown alike twice


def test_what_the_policy_writes_is_not_kept(at):
    kept, counted = [], Counted()

    def watch(run, stage, state) -> bool:
        kept.append(len(stage.reference.logp_n))
        return counted.watch(run, stage, state)

    train(tables(at, {"method": "grpo", "batch": 24, "steps": 3, **KL}), watch=watch)
    assert kept == [0] * 4 and all(n == 24 * 8 for n in counted.steps[:3])


def test_a_resumed_run_finds_the_numbers_that_it_would_have_had(at, tmp_path):
    recipe = tables(at, {**FIXED["pairs"], "checkpoint_every": EPOCH})
    expected, log = ran(recipe, tmp_path / "whole")

    def stop(record) -> None:
        if record["step"] == EPOCH + 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(recipe, RunFolder(tmp_path / "cut"), tell=stop)
    known = []

    def watch(run, stage, state) -> bool:
        known.append(len(stage.reference.logp_n))
        return False

    found, lines = ran(recipe, tmp_path / "cut", resume=True, watch=watch)
    assert lines == log and equal(found, expected)
    assert known[0] == 2 * 15 and len(log) - len(known) == EPOCH  # both answers of every row, from the first step on


def test_each_stage_remembers_for_itself(at):
    counted = Counted()
    stage = {"method": "dpo", "batch": 24, "steps": 2}
    train(tables(at, [stage, {**stage, "reference": "start"}]), watch=counted.watch)
    assert [n > 0 for n in counted.steps[:5]] == [True, False, False, True, False]


# --- the memory alone ---------------------------------------------------------------------------------------


def rows(*texts: str, author: int = 0):
    return pack([Row([ord(c) for c in text], [True] * len(text), [author] * len(text)) for text in texts])


class Scorer:
    """Gives each trained token a number of its own, and counts sequences."""

    def __init__(self) -> None:
        self.sequences = 0

    def __call__(self, batch):
        self.sequences += batch.S
        return torch.where(batch.train_N, batch.ids_N / 7 + batch.input_N, 0.0).double()


def test_known_and_unknown_sequences_of_a_batch_come_back_in_place():
    memory, score = LogprobCache(), Scorer()
    memory.logps(rows("abc", "de"), score)
    batch = rows("xy", "de", "", "qrst", "abc", "xy")
    found_N = memory.logps(batch, score)
    assert found_N.dtype == torch.float32 and score.sequences == 2 + 4
    torch.testing.assert_close(found_N, Scorer()(batch).float())
    memory.logps(batch, score)
    assert score.sequences == 6


@pytest.mark.parametrize("field", ["ids_N", "input_N", "train_N"])
def test_another_target_input_or_mask_is_another_sequence(field):
    memory, score = LogprobCache(), Scorer()
    batch = rows("abc")
    memory.logps(batch, score)
    changed_N = getattr(batch, field).clone()
    changed_N[2] = ~changed_N[2] if field == "train_N" else changed_N[2] + 1
    other = replace(batch, **{field: changed_N})
    assert torch.equal(memory.logps(other, score), Scorer()(other).float()) and score.sequences == 2


def test_once_full_what_is_there_stays():
    memory, score = LogprobCache(most=5), Scorer()
    for text in ("abcd", "efgh", "ij"):
        memory.logps(rows(text), score)
    assert memory.tokens == 4  # three trained tokens and one: the second text would not have fitted
    memory.logps(rows("abcd", "efgh", "ij"), score)
    assert score.sequences == 4


def test_it_goes_into_a_checkpoint_and_comes_back():
    memory, score = LogprobCache(), Scorer()
    batch = rows("abc", "de")
    expected = memory.logps(batch, score)
    other = LogprobCache()
    other.restore(memory.state())
    assert torch.equal(other.logps(batch, score), expected) and score.sequences == 2 and other.tokens == memory.tokens
    empty = LogprobCache()
    empty.restore(LogprobCache().state())
    assert not empty.logp_n


def test_the_policys_own_tokens_are_scored_each_time():
    memory, score = LogprobCache(), Scorer()
    for _ in range(2):
        memory.logps(rows("abc", author=POLICY), score)
    assert score.sequences == 2 and not memory.logp_n
