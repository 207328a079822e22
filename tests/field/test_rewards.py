"""What reward functions may give and do: nothing, nonsense, too much, or leave; each is said, and nothing is lost."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

from running import prepare, ran, tables
from scalpel.batch import ENVIRONMENT, POLICY, Batch, Row, pack
from scalpel.config.plan import assemble
from scalpel.data.example import Example
from scalpel.data.trajectory import completion
from scalpel.extensions.guarded import Failed
from scalpel.part import bind
from scalpel.registry import AXES
from scalpel.rewards import Rewards
from scalpel.rewards.verifiers import make
from scalpel.rewards.waiting import told
from scalpel.runs.folder import RunFolder
from scalpel.training.completions import plain
from scalpel.training.loop import train
from scalpel.worked_cases import case

NAN = float("nan")
EXAMPLES = [Example(prompt=f"{i}+1", answer=str(i + 1), id=f"d:{i}", where=f"d.jsonl:{i + 1}") for i in range(3)]
SAID, IDS = ["1", "5", "3"], [[1], [2], [3]]
Write = Callable[..., str]


@pytest.fixture
def user(tmp_path: Path) -> Write:
    def write(code: str, name: str = "f") -> str:
        (tmp_path / "mine.py").write_text(dedent(code))
        return f"{tmp_path}/mine.py:{name}"

    return write


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("material"))


def values(*specs: Any) -> list[list[float]]:
    return Rewards(specs)(EXAMPLES, SAID, IDS).reward_SK.tolist()


# --- None: the sample leaves its group ------------------------------------------------------------------------------


def sequence(group: int, rewards: list[float], n: int) -> Row:
    return Row([1] * (n + 1), [False] + [True] * n, [ENVIRONMENT] + [POLICY] * n, group=group, rewards=rewards)


def credit(name: str, batch: Batch) -> torch.Tensor:
    bound = bind("credit", name)
    out, _ = case([[-1.0] * (int((batch.seq_N == s).sum())) for s in range(batch.S)])
    stat = {"stat": None} if bound.part.statistic else {}
    return bound(out, batch, progress=0.0, **stat)


GROUPED = ["group-zscore", "group-mean", "leave-one-out", "reward", "right-or-wrong", "exp-reward", "recompose"]


@pytest.mark.parametrize("name", GROUPED)
def test_a_sample_that_nothing_rewards_changes_nothing_for_its_siblings(name: str) -> None:
    some = [sequence(0, [1.0, NAN], 2), sequence(0, [NAN, 0.0], 3), sequence(0, [0.5, 0.25], 1)]
    lone = [sequence(1, [2.0, 0.0], 2), sequence(1, [1.0, 0.0], 2)]
    lost = sequence(0, [NAN, NAN], 4)
    whole, alone = pack([some[0], lost, *some[1:], *lone]).rewarded(), pack([*some, *lone])
    assert whole.S == alone.S == 5 and whole.lost_S is not None and whole.lost_S.tolist() == [1, 1, 1, 0, 0]
    assert torch.equal(credit(name, whole), credit(name, alone))


@pytest.mark.parametrize("name", ["group-zscore", "group-mean", "leave-one-out"])
def test_one_that_is_left_of_a_group_has_no_advantage_and_one_that_was_sampled_alone_is_refused(name: str) -> None:
    left = pack([sequence(0, [1.0], 2), sequence(0, [NAN], 2), sequence(1, [1.0], 1), sequence(1, [0.0], 1)]).rewarded()
    assert credit(name, left)[left.seq_N == 0].tolist() == [0.0] * 3 and credit(name, left).abs().sum() > 0
    with pytest.raises(ValueError, match="a group has one sample"):
        credit(name, pack([sequence(0, [1.0], 2)]).rewarded())


def test_every_credit_that_compares_is_tried_with_samples_that_nothing_rewards() -> None:
    grouped = {
        n for n, p in AXES["credit"].items() if p.couples == "group" and "reward" in bind("credit", n).declared("reads")
    }
    others = {"pass-gate", "prefix-advantage", "progress"}  # need demonstrations or progress beside: below
    assert grouped <= {*GROUPED, *others}
    d = case([[-1.0]] * 4, group=[0] * 4, author=[[0], [1], [1], [0]], reward=[1.0, NAN, NAN, 0.0])
    for name in ("pass-gate", "prefix-advantage"):
        thinned = d[1].rewarded()
        assert torch.isfinite(credit(name, thinned)).all()


def test_with_several_rewards_those_that_apply_are_summed_and_a_watched_one_rewards_nobody(user: Write) -> None:
    mine = user("def f(completions): return [None, 2.0, None]")
    scored = Rewards([{"name": "exact", "weight": 0.0}, mine])(EXAMPLES, SAID, IDS)
    assert scored.reward_S.isnan().tolist() == [True, False, True] and scored.reward_S[1] == 2.0
    both = Rewards(["exact", mine])(EXAMPLES, SAID, IDS)
    assert both.reward_S.tolist() == [1.0, 2.0, 1.0]
    shaped = Rewards([mine, "brevity"])(EXAMPLES, SAID, IDS)  # what nothing judged is not shaped either
    assert shaped.reward_SK[:, 1].isnan().tolist() == [True, False, True]


def test_a_step_in_which_nothing_is_rewarded_moves_nothing_and_says_so(
    at: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "none.py").write_text("def f(completions): return [None] * len(completions)\n")
    made = tables(at, {"method": "grpo", "steps": 2}, data={"rewards": [f"{tmp_path}/none.py:f"]})
    after, log = ran(made, tmp_path / "none")
    before, _ = ran(tables(at, {"method": "grpo", "steps": 1, "learning_rate": 1e-30}), tmp_path / "still")
    assert all(torch.allclose(after[name], before[name], atol=1e-12) for name in after)
    assert caplog.text.count("no reward applied to any of 32 samples") == 1
    assert log[0]["samples/unrewarded"] == 1.0 and "reward" not in log[0] and log[0]["gradient_norm"] == 0


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("[1, float('nan'), 1]", r"mine\.py:f returned nan on d\.jsonl:2: a reward must be finite"),
        ("[1, 1, float('-inf')]", r"returned -inf on d\.jsonl:3"),
        ("[1e30, 1, 1]", r"returned 1e\+30 on d\.jsonl:1: beyond 16777216 .*scale or clip"),
        ("[10**400, 1, 1]", r"returned an integer of 1329 bits on d\.jsonl:1: a reward must be finite"),
        ("[1, {'a': 1}, 1]", r"returned \{'a': 1\} \(dict\) on d\.jsonl:2: it must be a number"),
        ("[1, 1j, 1]", r"returned 1j \(complex\)"),
        ("[[1], [1], [1]]", r"returned \[1\] \(list\)"),
        ("[1, 1]", "returned 2 values for 3 completions"),
        ("(1 for _ in iter(int, 1))", "returned too many values for 3 completions"),
        ("1.0", "returned float 1.0: it must return a list with one number per completion, here 3"),
        ("'good'", "returned str 'good'"),
        ("None", "returned NoneType None"),
    ],
)
def test_what_is_no_reward_is_refused_with_function_value_and_row(user: Write, given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        values(user(f"def f(completions): return {given}"))


@pytest.mark.parametrize(
    "given",
    [
        "__import__('torch').tensor([1, 0, 1], dtype=__import__('torch').bfloat16)",
        "__import__('numpy').array([1, 0, 1], dtype='float16')",
        "[True, False, True]",
        "[__import__('numpy').float32(1), __import__('torch').tensor(0.0), __import__('fractions').Fraction(1)]",
        "(x for x in (1, 0, 1))",
    ],
)
def test_numbers_of_any_kind_are_taken(user: Write, given: str) -> None:
    assert values(user(f"def f(completions): return {given}")) == [[1.0], [0.0], [1.0]]


@pytest.mark.parametrize("weight", [NAN, float("inf"), 1e30, 10**400, "1", True])
def test_a_weight_that_is_none_is_refused_when_the_recipe_is_assembled(at: Path, weight: Any) -> None:
    with pytest.raises(ValueError, match="weight"):
        made = tables(at, {"method": "grpo"}, data={"rewards": [{"name": "exact", "weight": weight}]})
        assemble(made.stages[0], made)


# --- functions of all kinds -----------------------------------------------------------------------------------------

KINDS = """
import functools

class Graded:
    def __init__(self, bad=False): self.bad = bad
    def __call__(self, completions, **kw):
        if self.bad: raise KeyError("lost")
        return [1.0 for _ in completions]

class Later:
    async def __call__(self, completions): return [1.0 for _ in completions]

def scaled(scale, completions, **kw): return [scale / (scale - 2) for _ in completions]

graded, graded_bad, later = Graded(), Graded(True), Later()
part, part_bad = functools.partial(scaled, 4), functools.partial(scaled, 2)
def one_by_one(completions):
    for _ in completions: yield 1.0
async def one_by_one_later(completions):
    for _ in completions: yield 1.0
async def f(completions): return [1.0 for _ in completions]
"""


@pytest.mark.parametrize("name", ["f", "graded", "later", "part", "one_by_one", "one_by_one_later"])
def test_whatever_can_be_called_is_asked(user: Write, name: str) -> None:
    spec = user(KINDS, name)
    if name == "part":
        assert values(spec) == [[2.0]] * 3
        return
    assert values(spec) == [[1.0]] * 3
    if name in ("f", "later", "one_by_one_later"):  # in a notebook an event loop is running already
        import asyncio

        async def within() -> list[list[float]]:
            return values(spec)

        assert asyncio.run(within()) == [[1.0]] * 3


@pytest.mark.parametrize(("name", "words"), [("graded_bad", "KeyError: 'lost'"), ("part_bad", "ZeroDivisionError")])
def test_objects_and_partials_that_raise_are_told_with_their_line(user: Write, name: str, words: str) -> None:
    with pytest.raises(Failed, match=rf"raised {words}.* at mine\.py:\d+, on rows d\.jsonl:1"):
        values(user(KINDS, name))


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("import sys; sys.exit(3)", r"called sys\.exit\(3\), which would have ended the whole run at mine\.py:2"),
        ("import os; os._exit(4)", r"called os\._exit\(4\), which would have ended the whole run at mine\.py:2"),
        ("raise KeyboardInterrupt", r"raised KeyboardInterrupt.* at mine\.py:2"),
        ("raise GeneratorExit", r"raised GeneratorExit.* at mine\.py:2"),
    ],
)
def test_a_function_can_not_end_the_run(user: Write, does: str, words: str) -> None:
    with pytest.raises(Failed, match=words):
        values(user(f"def f(completions):\n    {does}\n"))


def test_a_file_can_not_end_the_run_either(user: Write) -> None:
    with pytest.raises(ValueError, match=r"can't be imported: it called os\._exit\(1\).* at mine\.py:1"):
        values(user("import os; os._exit(1)\ndef f(completions): return []"))


def test_a_real_ctrl_c_is_one(user: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        values(
            user(
                "import os, signal, time\ndef f(completions):\n    os.kill(os.getpid(), signal.SIGINT)\n"
                "    time.sleep(5)"
            )
        )


def test_a_process_that_a_function_forks_may_leave(user: Write) -> None:
    code = """
    import os
    def f(completions):
        child = os.fork()
        if not child: os._exit(7)
        return [float(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))] * len(completions)
    """
    assert values(user(code)) == [[7.0]] * 3 and os._exit is not None


def test_what_it_asks_for_must_be_there_before_anything_is_sampled(user: Write) -> None:
    rewards = Rewards([user("def f(completions, difficulty): return []")])
    with pytest.raises(ValueError, match="no argument 'difficulty'|unknown argument 'difficulty'"):
        rewards.suits(EXAMPLES)


def test_a_function_that_fails_leaves_the_state_before_it(at: Path, tmp_path: Path) -> None:
    code = "n = 0\ndef f(completions):\n    global n\n    n += 1\n    if n == 3: raise OSError('gone')\n"
    (tmp_path / "late.py").write_text(code + "    return [len(c) / 9 for c in completions]\n")
    made = tables(at, {"method": "grpo", "steps": 4}, data={"rewards": [f"{tmp_path}/late.py:f"]})
    with pytest.raises(Failed, match=r"step 3: reward .*raised OSError: gone at late\.py:5.*--resume continues"):
        train(made, RunFolder(tmp_path / "run"))
    assert [path.name for path in RunFolder(tmp_path / "run", True).checkpoints()] == ["checkpoint-2"]


# --- what it logs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loss", "step", "kind", "reward", "seconds", "rewards/x", "samples/unread", "flops"])
def test_names_of_the_record_are_its_own(user: Write, name: str) -> None:
    with pytest.raises(ValueError, match=f"log_metric.'{name}'.*the record already has a metric of that name"):
        values(user(f"def f(completions, log_metric):\n    log_metric('{name}', 1)\n    return [1] * 3"))


@pytest.mark.parametrize("value", ["10**400", "float('nan')", "'high'", "None"])
def test_a_metric_is_a_finite_number(user: Write, value: str) -> None:
    with pytest.raises(ValueError, match="log_metric.*must be a finite number"):
        values(user(f"def f(completions, log_metric):\n    log_metric('mine', {value})\n    return [1] * 3"))


def test_columns_have_names_of_their_own_and_a_value_each(user: Write) -> None:
    with pytest.raises(ValueError, match="completions.jsonl already has a column"):
        values(user("def f(completions, log_extra):\n    log_extra('reward', completions)\n    return [1] * 3"))
    with pytest.raises(ValueError, match="pass a list with one value per completion"):
        values(user("def f(completions, log_extra):\n    log_extra('mine', 'abc')\n    return [1] * 3"))
    code = "def f(completions, log_extra):\n    log_extra('feedback', completions)\n    return [1] * 3\ng = f"
    spec = user(code)
    scored = Rewards([spec, spec.replace(":f", ":g")])(EXAMPLES, SAID, IDS)
    assert scored.extra == {"feedback": ["1 1", "5 5", "3 3"]}


def test_anything_logged_can_be_written() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert plain(10**5000) == "an integer of 16610 bits" and plain(10**9) == 10**9
    assert "…" in str(plain(endless)) or "[" in str(plain(endless))
    assert plain({"a": {1, 2}, "b": NAN, "c": torch.tensor(2.0)}) == {"a": "{1, 2}", "b": None, "c": 2.0}


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_reward_that_does_not_answer_within_its_timeout_is_refused(user: Write) -> None:
    spec = user("import threading\ndef f(completions):\n    threading.Event().wait()")  # for ever
    with pytest.raises(ValueError, match=r"reward 'f' exceeded its timeout of 0\.2 s on 3 completions"):
        values({"name": spec, "timeout": 0.2})
    assert values({"name": "exact", "timeout": 60}) == [[1.0], [0.0], [1.0]]
    with pytest.raises(ValueError, match="timeout = 0: it must be a number of seconds above 0"):
        Rewards([{"name": "exact", "timeout": 0}])
    with pytest.raises(ValueError, match="'brevity' can't have a timeout"):
        Rewards(["exact", {"name": "brevity", "timeout": 1}])


def test_a_users_verifier_that_does_not_answer_within_its_timeout_is_refused(user: Write) -> None:
    code = "    if completions == ['never']:\n        threading.Event().wait()\n    return [1]"
    spec = user(f"import threading\ndef f(completions):\n{code}")
    assert make({"name": spec, "timeout": 60})("1", EXAMPLES[0]) == 1.0
    with pytest.raises(ValueError, match=r"verifier .*mine\.py:f' exceeded its timeout of 0\.01 s"):
        make({"name": spec, "timeout": 0.01})("never", EXAMPLES[0])


def test_what_is_waited_for_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, fifth = [], threading.Event()

    class Over(threading.Event):
        """What is waited for, and takes as long as five waits."""

        def wait(self, timeout: float | None = None) -> bool:
            if threading.current_thread().name != "scalpel-waiting":
                return super().wait(timeout)
            waits.append(timeout)
            if len(waits) < 5:
                return False
            fifth.set()
            return True

    with caplog.at_level(logging.INFO, "scalpel"):
        monkeypatch.setattr("scalpel.rewards.waiting.threading.Event", Over)
        with told("reward 'x'"):
            assert fifth.wait(60)
    assert waits == [10, 50, 240, 300, 300]  # until 10 s, a minute, then every five minutes
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"waiting for reward 'x' for {seconds} s" for seconds in (10, 60, 300, 600)]


def test_what_is_soon_over_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "scalpel"), told("reward 'x'"):
        pass
    for thread in threading.enumerate():
        if thread.name == "scalpel-waiting":
            thread.join(60)
            assert not thread.is_alive()
    assert not caplog.records


def test_early_rewards_keep_to_the_same(user: Write) -> None:
    rewards = Rewards([{"name": user("def f(completions): return [None] * len(completions)"), "early": True}])
    early = rewards.while_sampling(None)  # type: ignore[arg-type]
    with early:
        early.ask(0, EXAMPLES[0], ["a", "b"], [completion((), [i]) for i in (1, 2)])
    scored = rewards([EXAMPLES[0]] * 2, ["a", "b"], [[1], [2]], early=early)
    assert scored.reward_S.isnan().all()
