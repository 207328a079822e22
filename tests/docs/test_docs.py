"""The documents are true: tables fresh, links alive, examples run."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import tiny
from scalpel.cli.app import app
from scalpel.config.plan import assemble
from scalpel.config.recipe import parse
from scalpel.methods import FAMILIES, ROWS
from scalpel.part import PARTS, READABLE, Part, bind
from scalpel.registry import AXES, forget
from scalpel.reporting import catalogue
from scalpel.rewards.tables import KINDS
from scalpel.training.loop import train

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", "docs/methods.md"])
def test_the_generated_tables_are_fresh(name):
    assert catalogue.fill(ROOT / name, check=True), f"bring it up to date: scalpel methods {name}"


def test_the_table_has_every_row_and_every_part():
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for axis in catalogue.SHOWN:
        for name in AXES[axis]:
            assert f"| `{name}` |" in page, (axis, name)
    assert all(f"| `{name}` | {row.title} |" in page for name, row in ROWS.items())


def test_the_table_of_rewards_has_every_name_that_a_recipe_may_say():
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for axis in KINDS for name in AXES[axis])
    lines = {name: (keys, effect) for name, keys, effect in catalogue.rewards()}
    assert lines["given"][0] == "of, where, least=1.0"
    assert lines["pattern"][0] == "pattern, ignore_case=False, timeout=5.0"
    assert all(len(effect) > 20 and effect.endswith(".") for _, effect in lines.values())


def test_a_row_is_told_by_its_point_on_the_axes():
    shown = {row[0]: row for row in catalogue.rows()}
    assert shown["sft"][2:5] == ("demonstrations × constant × nll", "all", "–")
    assert " + 0.1 · value" in shown["ppo"][2] and "(updates_per_batch=4)" in shown["ppo"][2]
    assert shown["chord-mu"][2].startswith("0.1→0.95 · groups × ") and "(lag=1)" in shown["grpo-async"][2]
    assert shown["rest-em"][5] == "learning rate 1e-05, start=base, repeat=3, sampling(temperature=0.7, top_k=40)"


def test_a_row_of_a_table_is_one_line_whatever_text_a_default_is():
    table = catalogue.parts_block().splitlines()
    assert all(line.startswith(("| ", "### ")) for line in table if line)
    (line,) = (line for line in table if line.startswith("| `interventions`"))
    assert 'boundary="\\\\n+"' in line and "locate=asked" in line


def test_no_two_methods_look_the_same():
    points = [row[2:6] for row in catalogue.rows()]
    assert len(points) == len(set(points))


def test_the_readme_names_every_method_once_by_family():
    lines = [line for line in README.splitlines() if line.startswith("| ") and "`" in line]
    named = [name for line in lines for name in re.findall(r"`([^`]+)`", line.split("|")[2])]
    assert named == list(ROWS) and len(lines) == len(FAMILIES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_documents_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_recipes_of_the_readme_are_valid():
    one, comparison, floor = blocks(README, "toml")
    recipe = parse(tomllib.loads(one + comparison + floor))
    assert recipe.stages[0].keep is not None and recipe.stages[0].keep.floor == 0.98
    for stage in recipe.stages:
        assemble(stage, recipe)
    assert recipe.compare is not None
    for arm in recipe.compare.arms:
        made = parse({**tomllib.loads(one), "train": {k: v for k, v in arm.items() if k != "name"}})
        assemble(made.stages[0], made)


def test_the_python_of_the_readme_compiles_and_its_reward_works():
    reward, use = blocks(README, "python")
    space: dict = {}
    exec(compile(reward, "README.md", "exec"), space)
    said = [[{"role": "assistant", "content": text}] for text in ("short", "long" * 40)]
    assert space["brief"](completions=said, answer=["1", "2"]) == [1.0, 0.0]
    import scalpel

    called = {node.func.attr for node in ast.walk(ast.parse(use)) if isinstance(node, ast.Call)}
    assert called and all(callable(getattr(scalpel, name)) for name in called)


def test_the_commands_of_the_documents_exist():
    import typer

    group = typer.main.get_command(app)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code = "\n".join([*blocks(text, ""), *re.findall(r"`([^`\n]+)`", text)])
        for name in re.findall(r"^scalpel ([a-z]+)", code, re.MULTILINE):
            assert name in group.commands, f"{page.name}: scalpel {name}"


@pytest.fixture
def focal():
    """The part that the architecture page writes, registered for the length of a test."""
    (code,) = blocks(ARCHITECTURE, "python")
    exec(compile(code, "architecture.md", "exec"), {})
    yield AXES["credit"]["focal"]
    del AXES["credit"]["focal"]


def test_the_part_of_the_architecture_page_keeps_its_limits(focal: Part):
    rows = list(focal.limits())
    assert len(rows) == 2
    for out, batch, hyper, expected in rows:
        credit_N = bind("credit", "focal", **hyper)(out, batch)
        assert credit_N[batch.train_N].tolist() == pytest.approx(expected)


def test_the_part_of_the_architecture_page_trains_in_the_recipe_that_it_shows(focal, tmp_path):
    (text,) = blocks(ARCHITECTURE, "toml")
    data = tmp_path / "data.jsonl"
    data.write_text("".join(f'{{"prompt": "{n}", "completion": "x{n}"}}\n' for n in range(20)))
    tables = tomllib.loads(text)
    tables["model"] = str(tiny.folder(tmp_path / "model"))
    tables["task"] = {"name": "jsonl", "path": str(data)}
    recipe = parse(tables, ["train.steps=2", "train.batch=2"])
    losses: list[float] = []
    train(recipe, tell=lambda record: losses.append(record["loss"]))
    plain: list[float] = []
    constant = parse(tables, ["train.steps=2", "train.batch=2", "train.signals.0.credit.0.gamma=0.0"])
    train(constant, tell=lambda record: plain.append(record["loss"]))
    assert len(losses) == 2 and losses[0] < plain[0]  # known tokens count less


def test_the_architecture_page_names_every_declaration_and_every_field():
    for name in Part.__dataclass_fields__:
        assert name in ("axis", "name", "fn") or f"| `{name}` |" in ARCHITECTURE, name
    for name in READABLE:
        assert f"`{name}`" in ARCHITECTURE, name
    for axis in (*PARTS, "term", "slope"):
        assert f"| {axis} " in ARCHITECTURE, axis


def test_the_file_of_the_page_on_parts_keeps_its_limits_and_trains_in_the_recipe_that_it_shows(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "parts.md").read_text(encoding="utf-8")
    (code, check), (text, entry) = blocks(page, "python"), blocks(page, "toml")
    assert len(code.splitlines()) <= 35 and tomllib.loads(entry)["project"]["entry-points"]["scalpel.parts"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "margin.py").write_text(code)
    (tmp_path / "data.jsonl").write_text("".join(f'{{"prompt": "{n}", "completion": "x{n}"}}\n' for n in range(8)))
    losses: dict[float, list[float]] = {0.0: [], 0.3: []}
    try:
        exec(compile(check, "parts.md", "exec"), {})
        tables = tomllib.loads(text) | {"model": str(tiny.folder(tmp_path / "model")), "task": {"name": "jsonl"}}
        tables["task"]["path"] = "data.jsonl"
        for margin, found in losses.items():
            over = ["train.steps=2", "train.batch=2", f"train.signals.0.objective.margin={margin}"]
            train(parse(tables, over), tell=lambda record, found=found: found.append(record["loss"]))
    finally:
        forget(str(tmp_path / "margin.py"))
    assert losses[0.3][0] == pytest.approx(losses[0.0][0] - 0.3, abs=1e-4)  # no token of a new model is so likely
