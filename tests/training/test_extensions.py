"""Parts from outside the package: files of the user's in a recipe, and installed plugins."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import tiny
from running import equal, tables, weights
from scalpel import tasks
from scalpel.binding.table import table_keys
from scalpel.cli.app import app
from scalpel.config.merge import merge
from scalpel.config.plan import assemble
from scalpel.config.recipe import Recipe, parse
from scalpel.evaluation.probes import make_probes
from scalpel.experiments import single
from scalpel.experiments.preflight import refuse_recipe
from scalpel.experiments.single import run_recipe
from scalpel.extensions import find, load_plugins
from scalpel.registry import AXES, ORIGINS, forget, lookup
from scalpel.reporting import catalogue
from scalpel.training.loop import train

OBJECTIVE = '''
"""An objective in a file of the user's."""
from scalpel.part import mean_of, part


@part("objective", "margin-nll", needs={"logp"}, by_credit="token")
def margin_nll(out, batch, *, margin: float = 0.5):
    """Maximises the likelihood of tokens that are not yet likely enough."""
    excess_N = (-out.logp_N - margin).clamp(min=0)
    return (batch.credit_N * excess_N).sum(), {"open": mean_of(excess_N, batch.train_N)}


def bare(out, batch, *, margin: float = 0.5):
    return margin_nll(out, batch, margin=margin)
'''
EVERY = """
from scalpel.data.example import Example, Task


def source(draw, *, size: int = 1): ...
def credit(out, batch, *, gamma: float = 1.0): ...
def objective(out, batch, *, beta: float = 1.0): ...
def scope(model, hands, *, rank: int = 1): ...
def anchor(out, batch, *, beta: float = 1.0): ...
def selection(draw, *, least: float = 1.0): ...
def corruption(batch, *, mask_id, seed, share: float = 1.0): ...
def probe(name, role, *, task: Task, width: int = 3): return (name, role, task.name, width)
def kept(name, measured, *, task: Task, width: int = 3): ...
def reward(completions, **columns): return [1.0] * len(completions)


class Same:
    name = "same"

    def __init__(self, *, word: str = "a"):
        self.word = word

    def examples(self, split, n, seed=0):
        return [Example(self.word, "b", "b", id=f"{split}{i}") for i in range(min(n, 3))]

    def score(self, completion, example):
        return 1.0
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture
def at(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of its own; what its files register is forgotten afterwards."""
    os.symlink(base, tmp_path / "llama")
    rows = [{"prompt": f"{n}>", "completion": f"{n}{n}", "answer": str(n)} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.py").write_text(OBJECTIVE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for origin in set(ORIGINS.values()):
        forget(origin)


def recipe(at: Path, objective: Any, **over: Any) -> Recipe:
    stage = {"signals": [{"source": "demonstrations", "objective": objective}], "steps": 3, "checkpoint_every": 1}
    found = {"data": {"rewards": ["task"]}, "task": {"shares": {"train": 1}}, "models": {}}
    return tables(at, merge({**stage, "batch": 2}, over), **found).model_copy(update={"models": {}})


def trained(made: Recipe) -> dict[str, torch.Tensor]:
    return weights(train(made))


def test_an_objective_in_a_file_trains_as_the_same_formula_inside_does_bit_for_bit(
    at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AXES, "objective", dict(AXES["objective"]))
    exec(compile(OBJECTIVE.replace("margin-nll", "margin-inside"), "inside.py", "exec"), {})
    inside = trained(recipe(at, {"name": "margin-inside", "margin": 0.25}))
    outside = trained(recipe(at, {"name": "mine.py:margin_nll", "margin": 0.25}))
    assert equal(inside, outside)
    assert not equal(inside, trained(recipe(at, {"name": "mine.py:margin_nll", "margin": 50.0})))


def test_a_function_without_a_decorator_is_a_part_and_one_with_it_has_two_names(at: Path) -> None:
    bare = find("objective", "mine.py:bare")
    assert bare.needs == {"logp"} and bare.count == "tokens" and list(bare.schema) == ["margin"]
    registered = find("objective", f"{at / 'mine.py'}:margin_nll")
    assert registered is find("objective", "mine.py:margin-nll") is lookup("objective", "margin-nll")
    assert "margin_nll" not in AXES["objective"] and ORIGINS["objective", "margin-nll"] == str(at / "mine.py")


def test_a_run_resumes_with_it_and_refuses_a_changed_file(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recipe(at, "mine.py:margin_nll")
    run_recipe(made, at / "whole")

    class Stop(Exception):
        pass

    def stop(self: single.Watcher, record: dict[str, Any]) -> None:
        if record["step"] > 1:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(single.Watcher, "tell", stop)
        run_recipe(made, at / "run")
    (at / "mine.py").write_text(OBJECTIVE.replace("- margin)", "- 2 * margin)"))
    with pytest.raises(ValueError, match=r"mine\.py \(a part\): its digest was .*--insist"):
        run_recipe(made, at / "run", resume=True)
    (at / "mine.py").write_text(OBJECTIVE)
    run_recipe(made, at / "run", resume=True)
    name = "model/model.safetensors"
    assert (at / "run" / name).read_bytes() == (at / "whole" / name).read_bytes()
    assert 'mine.py:margin_nll"' in (at / "run" / "recipe.toml").read_text()


def test_a_changed_file_registers_anew_and_what_it_no_longer_has_is_gone(at: Path) -> None:
    first = find("objective", "mine.py:margin_nll")
    (at / "mine.py").write_text(OBJECTIVE.replace("0.5", "0.75"))
    second = find("objective", "mine.py:margin_nll")
    assert second is not first and second.schema["margin"].default == 0.75
    (at / "mine.py").write_text("def bare(out, batch): ...\n")
    find("objective", "mine.py:bare")
    assert "margin-nll" not in AXES["objective"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.py:margin_nl", "unknown function 'margin_nl': did you mean 'margin_nll'"),
        ("mine.py:margin-nl", "did you mean 'margin-nll'"),
        ("mien.py:margin_nll", "no file mien.py: did you mean .*mine.py"),
        ("broken.py:f", "broken.py can't be imported: it raised ZeroDivisionError: division by zero at broken.py:1"),
        ("taken.py:f", "objective 'nll' is registered twice: by scalpel .* and by .*taken.py"),
        ("credit.py:f", "credit.py:f is registered as credit 'c', and can't be used as objective"),
        ({"name": "mine.py:margin_nll", "margn": 1}, "unknown key 'margn': did you mean 'margin'"),
        ({"name": "mine.py:margin_nll", "margin": "x"}, "'margin' of objective 'mine.py:margin_nll' is 'x', but must"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_opened(at: Path, name: Any, words: str) -> None:
    (at / "broken.py").write_text("x = 1 / 0\n")
    (at / "taken.py").write_text("from scalpel.part import part\n@part('objective', 'nll')\ndef f(out, batch): ...\n")
    (at / "credit.py").write_text("from scalpel.part import part\n@part('credit', 'c')\ndef f(out, batch): ...\n")
    with pytest.raises(ValueError, match=words):
        refuse_recipe(recipe(at, name))
    assert lookup("objective", "nll").fn.__module__ == "scalpel.objectives.nll"


def every(at: Path, **over: Any) -> dict[str, Any]:
    (at / "every.py").write_text(EVERY)
    signal = {
        "source": {"name": "every.py:source", "size": 2},
        "credit": ["every.py:credit"],
        "objective": "every.py:objective",
        "select": "every.py:selection",
        "corrupt": [{"name": "every.py:corruption", "share": 0.5}],
        "rewards": ["every.py:reward"],
    }
    task = {"name": "every.py:Same", "word": "c"}
    return {
        "model": "llama",
        "task": task,
        "train": {"signals": [signal], "scope": "every.py:scope", "anchors": ["every.py:anchor"]},
        "keep": {"sets": [{"name": "k", "kind": "every.py:kept", "task": task}], "steer": ["anchor"]},
        "measure": {"probes": [{"name": "p", "kind": "every.py:probe", "task": task, "width": 4}]},
        **over,
    }


def test_every_axis_takes_a_path(at: Path) -> None:
    made = parse(every(at))
    refuse_recipe(made)
    (stream,) = assemble(made.stages[0], made).streams
    assert stream.source.hyper == {"size": 2} and stream.signals[0].objective is not None
    assert make_probes(made.measure.probes, "", tasks.make) == [("p", "target", "same", 4)]
    assert [example.prompt for example in tasks.make(made.task).examples("train", 2)] == ["c", "c"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.signals.0.source.sise=2", "unknown key 'sise': did you mean 'size'"),
        ("train.scope={name='every.py:scop'}", "did you mean 'scope'"),
        ("measure.probes.0.widht=2", "measure.probes.0: unknown key 'widht': did you mean 'width'"),
        ("measure.probes.0.kind='every.py:prob'", "measure.probes.0: every.py: unknown function 'prob': did you mean"),
        ("keep.sets.0.width='x'", "keep.sets.0.width is 'x', but must be an integer"),
        ("task.wrod='x'", "task: unknown key 'wrod': did you mean 'word'"),
        ("task.name='every.py:Sam'", "task: every.py: unknown function 'Sam'"),
    ],
)
def test_their_keys_are_checked_as_those_inside(at: Path, override: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        refuse_recipe(parse(every(at), [override]))
    assert words in str(error.value)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Distributions with an entry point, on the path."""

    def install(name: str, code: str, value: str) -> None:
        info = tmp_path / "site" / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[scalpel.parts]\nmine = {value}\n")
        (tmp_path / "site" / f"{value.partition(':')[0]}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path / "site")
        load_plugins.cache_clear()

    yield install
    for origin in set(ORIGINS.values()):
        forget(origin)
    load_plugins.cache_clear()


ROW = """
from scalpel.methods import Row, one
from scalpel.registry import register


def enter():
    stage = {"signals": one("demonstrations", [], "plugged-nll"), "learning_rate": 0.02}
    register("method", "plugged")(Row("a plugged method", "Nobody 2026", stage))
"""


def test_plugins_bring_parts_and_methods(at: Path, installed: Any) -> None:
    installed("margins", OBJECTIVE.replace("margin-nll", "plugged-nll"), "plugged_objective")
    installed("rows", ROW, "plugged_row:enter")
    parse({"model": "llama", "task": {"name": "rows.jsonl"}, "train": {"method": "plugged"}})
    assert ORIGINS["objective", "plugged-nll"] == "plugin margins" and ORIGINS["method", "plugged"] == "plugin rows"
    assert equal(trained(recipe(at, "plugged-nll")), trained(recipe(at, "mine.py:margin_nll")))
    ((name, title, *_),) = catalogue.rows(outside=True)
    assert (name, title) == ("plugged", "a plugged method (plugin rows)")
    assert ("objective plugged-nll", "plugin margins") in [row[:2] for row in catalogue.outside_parts()]
    assert all("plugged" not in block() for block in catalogue.BLOCKS.values())


def test_a_broken_plugin_is_left_out_and_named_where_something_is_missing(
    at: Path, installed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    taken = "from scalpel.part import part\n"
    taken += "".join(f"@part('objective', {name!r})\ndef f(out, batch): ...\n" for name in ("of-a-plugin", "nll"))
    installed("takes-names", taken, "plugged_taken")
    installed("raises", "raise RuntimeError('no luck')", "plugged_raises")
    with caplog.at_level(logging.WARNING, "scalpel"):
        refuse_recipe(recipe(at, "nll"))
        refuse_recipe(recipe(at, "nll"))
    assert caplog.text.count("plugin raises is left out") == caplog.text.count("plugin takes-names is left out") == 1
    assert "raised RuntimeError: no luck" in caplog.text and "'nll' is registered twice: by scalpel" in caplog.text
    with pytest.raises(ValueError, match=r"unknown objective 'of-a-plugin'.*plugin takes-names is left out: .*nll"):
        refuse_recipe(recipe(at, "of-a-plugin"))


SHAPED = """
from dataclasses import KW_ONLY, dataclass


class {kind}:
    name = "words"


@dataclass
class Words:
    _: KW_ONLY
    width: "int | {kind}" = 1
"""


def test_files_of_one_name_in_two_folders_keep_their_own_annotations(at: Path) -> None:
    for folder, kind in (("a", "First"), ("b", "Second")):
        (at / folder).mkdir()
        (at / folder / "words.py").write_text(SHAPED.format(kind=kind))
    first, second = (find("task", f"{folder}/words.py:Words") for folder in "ab")
    assert "First" in str(table_keys(first)["width"].wanted) and "Second" in str(table_keys(second)["width"].wanted)


def test_the_terminal_lists_what_a_plugin_brings(at: Path, installed: Any) -> None:
    code = OBJECTIVE.replace("margin-nll", "shown-nll").replace("of tokens", "of [red] tokens")
    installed("shows", code, "plugged_shown")
    said = CliRunner().invoke(app, ["methods"]).output
    assert "objective shown-nll" in said and "plugin shows" in said and "[red]" in said
