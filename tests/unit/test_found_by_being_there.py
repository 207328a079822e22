"""A file that lies in the folder of an axis is registered, and what it registers is bound by its signature."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from scalpel import tasks
from scalpel.config.recipe import parse
from scalpel.data.example import Example
from scalpel.evaluation.probes import make_probes
from scalpel.experiments.preflight import refuse_recipe
from scalpel.registry import AXES, lookup, register
from scalpel.rewards import Rewards
from scalpel.rewards.declared import Scoring, declared, roles
from scalpel.rewards.tables import refuse_rewards
from scalpel.rewards.user import Verifier

GATHER = "from scalpel.registry import gather_parts\ngather_parts(__name__, __path__)\n"
PROBE = '''
"""How many characters a model's questions have: needs no model."""
from scalpel.binding.bounds import Count
from scalpel.data.example import Task
from scalpel.registry import register


@register("probe", "asked-length")
class AskedLength:
    kind, unit = "asked-length", "characters"

    def __init__(self, name: str, role: str, *, task: Task, n: Count = 2, least: int = 0) -> None:
        self.name, self.role, self.least = name, role, least
        self.items = task.examples("test", n)

    def questions(self):
        return [example.prompt for example in self.items]

    def only(self, ids):
        return self

    def run(self, engine, reference=None):
        return []
'''
CODE: dict[str, str] = {
    "probe": PROBE,
    "keep set": '@register("keep set", "new")\ndef new(name: str, *, task: dict, share: float = 1.0): ...',
    "quantity": '@register("quantity", "new")\ndef new(arm, *, probe: str = ""): ...',
    "objective": '@part("objective", "new")\ndef new(out, batch, *, beta: float = 1.0): ...',
    "credit": '@part("credit", "new")\ndef new(out, batch, *, beta: float = 1.0): ...',
    "source": '@part("source", "new")\ndef new(draw, *, size: int = 1): ...',
    "scope": '@part("scope", "new")\ndef new(model, hands, *, rank: int = 1): ...',
    "anchor": '@part("anchor", "new")\ndef new(out, batch, *, beta: float = 1.0): ...',
    "selection": '@part("selection", "new")\ndef new(draw, *, least: float = 1.0): ...',
    "corruption": '@part("corruption", "new")\ndef new(batch, *, share: float = 1.0): ...',
    "judge": '@register("judge", "new")\ndef new(ask, *, role: str = "policy"): ...',
    "shaping": '@register("shaping", "new")\ndef new(seen, *, threshold: float = 0.5): ...',
    "environment": '@register("environment", "new")\ndef new(*, max_turns: int = 2): ...',
    "task": '@register("task", "new")\ndef new(*, words: int = 2): ...',
    "verifier": '@register("verifier", "new")\ndef new(completion, example, *, least: float = 1.0): ...',
}
IMPORTS = "from scalpel.part import part\nfrom scalpel.registry import register\n"
RECIPE: dict[str, Any] = {
    "model": "m",
    "task": {"name": "world/reverse"},
    "train": {"method": "sft"},
    "measure": {"probes": [{"name": "a", "kind": "asked-length", "task": {"name": "world/reverse"}, "n": 3}]},
}


@pytest.fixture
def laid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A package with one file, found as those of the axes' own folders are."""
    axis = request.param
    folder = tmp_path / "laid_there"
    folder.mkdir()
    (folder / "__init__.py").write_text(GATHER)
    (folder / "new.py").write_text(IMPORTS + CODE[axis])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(AXES, axis, dict(AXES[axis]))
    import_module("laid_there")
    yield axis
    for name in ("laid_there", "laid_there.new"):
        del sys.modules[name]


@pytest.mark.parametrize("laid", CODE, indirect=True)
def test_a_file_in_the_folder_of_an_axis_is_registered(laid: str) -> None:
    assert lookup(laid, "asked-length" if laid == "probe" else "new")


@pytest.mark.parametrize("laid", ["probe"], indirect=True)
def test_a_recipe_uses_a_new_probe_by_its_name_and_keys(laid: str) -> None:
    recipe = parse(RECIPE)
    refuse_recipe(recipe)
    from scalpel import tasks

    (probe,) = make_probes(recipe.measure.probes, "", tasks.make)
    assert probe.role == "target" and len(list(probe.questions())) == 3
    for override, words in (
        ("measure.probes.0.leest=1", "measure.probes.0: unknown key 'leest': did you mean 'least'"),
        ("measure.probes.0.n=0", "measure.probes.0.n is 0, but must be an integer from 1"),
        ("measure.probes.0.kind='asked-lenght'", "unknown kind of probe 'asked-lenght': did you mean 'asked-length'"),
        ("measure.probes.0.task.name='world/revers'", "measure.probes.0.task: unknown task 'world/revers'"),
    ):
        with pytest.raises(ValueError) as error:
            refuse_recipe(parse(RECIPE, [override]))
        assert words in str(error.value)


REWARDS = [("verifier", "least"), ("judge", "role"), ("shaping", "threshold")]


@pytest.mark.parametrize(("laid", "key"), REWARDS, indirect=["laid"])
def test_a_reward_is_known_by_its_name_and_keys(laid: str, key: str) -> None:
    refuse_rewards([{"name": "new", "weight": 0.5}])
    with pytest.raises(ValueError, match=rf"data\.rewards\.0: unknown key '{key}x': did you mean '{key}'"):
        refuse_rewards([{"name": "new", f"{key}x": 1}])


def test_a_path_may_be_as_long_as_paths_are(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    (folder / "code.py").write_text("def f(completions, **columns): return [0.0] * len(completions)\n")
    refuse_rewards([{"name": f"{folder / 'code.py'}:f", "weight": 2.0}])


def test_rewards_that_the_task_the_data_or_an_environment_gives_are_known_too() -> None:
    refuse_rewards(["task", "data", {"name": "environment", "weight": 0.5}])
    with pytest.raises(ValueError, match="unknown reward 'enviroment': did you mean 'environment'"):
        refuse_rewards(["enviroment"])


def test_rewards_are_told_apart_by_what_they_declare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge of any name is treated by its declarations: threads, the models that it asks, the rewards inside it."""
    monkeypatch.setitem(AXES, "judge", dict(AXES["judge"]))

    @declared("calm", concurrent=True, asks=lambda keys: str(keys["who"]))
    def calm(*, who: str = "critic", inner: Scoring) -> Scoring:
        return inner

    table = {"name": "calm", "inner": {"name": "judge", "role": "weak"}}
    assert roles([table, {**table, "who": "policy"}]) == {"critic", "weak"}
    assert Rewards([{**table, "inner": "exact", "early": True, "timeout": 9}]).early == [0]
    for wrong, words in (
        ("exakt", "0.inner: unknown reward 'exakt'"),
        ("brevity", "0.inner: 'brevity' is a shaping reward"),
    ):
        with pytest.raises(ValueError, match=words):
            refuse_rewards([{**table, "inner": wrong}])
    refuse_rewards([{**table, "inner": {**table, "inner": "task"}}])


def test_a_task_of_another_package_is_bound_by_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AXES, "task", dict(AXES["task"]))

    @register("task", "rows")
    def rows(form: str, *, words: int = 2, verify: Verifier | None = None) -> Any:
        return form, words, verify and verify("b", Example("p", answer="b"))

    assert tasks.make({"name": "rows", "words": 3, "verify": "exact", "chat": False}) == ("rows", 3, 1.0)
    with pytest.raises(ValueError, match="data.task: unknown key 'word': did you mean 'words'"):
        tasks.make({"name": "rows", "word": 3}, "data.task")
    with pytest.raises(ValueError, match="task.verify: unknown verifier 'exakt'"):
        tasks.make({"name": "rows", "verify": "exakt"})
