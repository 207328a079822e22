"""Rewards that are asked while other prompts are still sampled: earlier, and otherwise as ever."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from running import equal, ran, tables
from scalpel.config.plan import assemble
from scalpel.data.example import Example
from scalpel.data.trajectory import completion
from scalpel.engine.sampler import Sampler
from scalpel.extensions.files import module_of
from scalpel.rewards import Rewards, TrainerState
from scalpel.training.estimate import estimate

WAITS = """
from threading import Event
asked, seen, prompts_a_call = Event(), Event(), []
def waits(prompts, completions, **columns):
    prompts_a_call.append(len(set(prompts)))
    asked.set()
    assert seen.wait(30), "all was sampled before anything was rewarded"
    return [0.0] * len(completions)
"""
LOGS = """
def logs(completions, completion_ids, trainer_state, log_extra, log_metric, **columns):
    log_metric("told/step", trainer_state.global_step)
    log_metric("told/ids", sum(map(len, completion_ids)) / len(completions))
    log_extra("upper", [text.upper() for text in completions])
    if any("a" in text for text in completions):
        log_extra("some", [text if "a" in text else None for text in completions])
    return [None if sum(map(ord, text)) % 2 else sum(map(ord, text)) % 7 / 6 for text in completions]
"""
COUNTS = """
asked = []
def counts(completions, **columns):
    asked.extend(completions)
    return [1.0] * len(completions)
"""
FAILS = """
def fails(completions, **columns):
    raise KeyError(completions[0])
"""
A, B = (Example(prompt=word, answer=word, id=word) for word in "ab")


def reward(tmp_path, code: str, early: bool = True):
    name = code.partition("def ")[2].partition("(")[0]
    (tmp_path / f"{name}.py").write_text(code)
    return {"name": f"{tmp_path / name}.py:{name}", "early": early}


def entered(run, spec, method="grpo"):
    recipe = tables(run.at, {"method": method}, data={"rewards": [spec]})
    run.plans = [assemble(stage, recipe) for stage in recipe.stages[:1]]
    return run.enter(0)


def drawn(run, spec, method="grpo"):
    """A step's batch, sampled one prompt at a time."""
    stage = entered(run, spec, method)
    run.engine.sample_rows = 8
    try:
        return run.rollout.draw(stage, stage.streams[0], 0, 0, 0.0)
    finally:
        run.engine.sample_rows = 256


def test_a_reward_is_asked_while_later_prompts_are_still_sampled(run, tmp_path, monkeypatch):
    spec, writing = reward(tmp_path, WAITS), Sampler.write

    def write(self, logits_RV):
        mine = module_of(spec["name"])
        if not all(self.open):
            assert mine.asked.wait(30), "a prompt's completions are there, and nobody is asked"
            mine.seen.set()  # the reward can't have answered before: here others are still being sampled
        return writing(self, logits_RV)

    monkeypatch.setattr(Sampler, "write", write)
    assert drawn(run, spec).S == 4 * 8
    assert module_of(spec["name"]).prompts_a_call == [1] * 4


def test_each_completion_is_judged_once_by_the_sources_that_sample_for_their_own_examples(run, tmp_path):
    paraphrased = 2  # of an answer that is cut off, so that each example has two that are judged
    for method, size in (("grpo", 4 * 8), ("leti", 4 * 8), ("s3ft", 4 * paraphrased), ("prefix-rft", 4 * 8)):
        spec = reward(tmp_path, COUNTS)
        drawn(run, spec, method)
        asked = module_of(spec["name"]).asked
        assert len(asked) == size, method
        asked.clear()


@pytest.mark.parametrize("method", ["grpo", "prefix-rft"])
def test_weights_and_records_are_those_of_rewards_asked_late(at, tmp_path, method):
    found = []
    for early in (True, False):
        folder, stage = tmp_path / str(early), {"method": method, "steps": 2}
        rewards = ["exact", reward(tmp_path, LOGS, early), {"name": "task", "early": early}, "brevity"]
        weights, records = ran(tables(at, stage, data={"rewards": rewards}), folder)
        lines = [json.loads(line) for line in (folder / "completions.jsonl").read_text().splitlines()]
        found.append((weights, [r.pop("told/ids") for r in records if "told/ids" in r], records, lines))
    (weights, lengths, records, lines), late = found[0], found[1]
    assert equal(weights, late[0]) and records == late[2] and lines == late[3]
    assert lengths == pytest.approx(late[1])
    assert "upper" in lines[0]["extra"] and any(line["rewards"]["logs"] is None for line in lines)


def test_a_failure_comes_out_with_its_words_and_leaves_no_thread(run, tmp_path):
    with pytest.raises(ValueError, match=r"fails\.py:fails raised KeyError: .* at fails\.py:3, on rows \S+$"):
        drawn(run, reward(tmp_path, FAILS))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scalpel-reward")]


def test_an_estimate_asks_no_reward(run, tmp_path):
    assert estimate(run, entered(run, reward(tmp_path, FAILS))).sampled_a_step > 0


def test_equal_completions_and_an_example_that_comes_twice_are_not_confused():
    asked = []

    def verify(completion, example):
        asked.append((example.id, completion))
        return float(len(asked))

    class Task:
        name = "counting"
        score = staticmethod(verify)

    rewards = Rewards([{"name": "task", "early": True}], Task())
    with rewards.while_sampling(TrainerState()) as early:
        early.pool = ThreadPoolExecutor(1)  # one asks after the other, in the order in which they come
        early.ask(2, B, ["x", "x"], [completion((), [1]), completion((), [1])])
        early.ask(0, A, ["x", "y"], [completion((), [1]), completion((), [2])])
        early.ask(1, A, ["x", "x"], [completion((), [1]), completion((), [1])])
        ids = [[1], [1], [1], [2], [1], [1], [3]]
        scored = rewards([A, A, A, A, B, B, B], list("xxxyxxz"), ids, early=early, groups=[1, 1, 0, 0, 2, 2, 2])
    assert scored.reward_SK[:, 0].tolist() == [5, 6, 3, 4, 1, 2, 7]


def test_a_column_that_one_call_logs_too_short_is_refused(tmp_path):
    code = "def short(completions, log_extra, **columns):\n    log_extra('a', completions[1:])\n    return [0.0] * 2\n"
    rewards = Rewards([reward(tmp_path, code)])
    with rewards.while_sampling(TrainerState()) as early:
        early.ask(0, A, ["x", "y"], [completion((), [1]), completion((), [2])])
        with pytest.raises(ValueError, match=r"log_extra\('a', …\) got 1 values for 2 completions"):
            rewards([A, A], ["x", "y"], [[1], [2]], early=early)


@pytest.mark.parametrize("name", ["judge", "agreement", "brevity", "episodic", "given"])
def test_what_asks_the_sampling_model_or_needs_other_rewards_is_not_asked_early(name):
    with pytest.raises(
        ValueError, match=f"{name}' can't be computed early.*leave out `early`, which is for 'task', ver"
    ):
        Rewards([{"name": name, "early": True}])


def test_early_is_true_or_false():
    with pytest.raises(ValueError, match="reward 'exact' has early = 'yes': it must be true or false"):
        Rewards([{"name": "exact", "early": "yes"}])
