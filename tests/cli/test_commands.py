"""The commands: what there is, and that each does what it says on a small model."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import scalpel as package
from scalpel.cli.app import app

COMMANDS = {
    "train": {"recipe", "overrides", "--out", "--resume", "--insist", "--checkpoint"},
    "compare": {"recipe", "overrides", "--out", "--resume", "--until-decided", "--most"},
    "measure": {"tuned", "--base", "--probes", "--out", "--device", "--dtype"},
    "check": {
        "base", "tuned", "--suite", "--floor", "--only", "--items", "--out", "--device", "--dtype",
    },
    "diff": {"base", "tuned"},
    "merge": {"adapter", "--out"},
    "generate": {
        "model", "prompt", "--system", "--plain", "--max-tokens", "--temperature", "--seed", "--device",
    },
    "methods": {"documents", "--markdown", "--check"},
    "claim": {
        "name", "overrides", "--out", "--anew", "--until", "--hours", "--overnight", "--claims", "--page", "--check",
    },
    "report": {"runs"},
    "world build": {
        "folder", "--size", "--steps", "--batch", "--learning-rate", "--seed", "--device", "--items", "--start",
        "--more", "--resume",
    },
    "world card": {"folder", "--items", "--force"},
}  # fmt: skip


def found(command, path=""):
    """Every leaf command with its arguments and flags."""
    if hasattr(command, "commands"):
        return {k: v for name, inner in command.commands.items() for k, v in found(inner, f"{path} {name}").items()}
    flags = {next((o for o in p.opts if o.startswith("--")), p.name) for p in command.params}
    return {path.strip(): flags - {"--help"}}


def test_the_commands_and_their_flags_are_these():
    assert found(typer.main.get_command(app)) == COMMANDS


def test_help_and_version_load_nothing_heavy():
    code = (
        "import sys, scalpel.cli.app as c\n"
        "try: c.app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'plotly', 'pydantic') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_version_is_that_of_the_package(scalpel):
    assert scalpel("--version").out == f"scalpel {package.__version__}\n"


def test_the_package_runs_as_a_module():
    ran = subprocess.run([sys.executable, "-m", "scalpel", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"scalpel {package.__version__}\n"


def test_no_command_shows_the_help():
    assert "compare" in CliRunner().invoke(app, []).output


def test_train_leaves_a_run_folder_with_a_model_and_says_where(scalpel):
    ran = scalpel("train", "recipe.toml", "train.steps=2", "--out", "here")
    assert ran.code == 0, ran.err
    assert "here/model" in ran.out and "tokens are trained" in ran.said
    lines = [json.loads(line) for line in (scalpel.folder / "here" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2]
    assert "steps = 2" in (scalpel.folder / "here" / "recipe.toml").read_text()


def test_train_without_out_runs_under_the_recipes_name(scalpel):
    assert scalpel("train", "recipe.toml").code == 0
    assert (scalpel.folder / "runs" / "lesson" / "model" / "model.safetensors").exists()


def test_diff_shows_no_change_for_a_model_and_itself_and_some_for_another(scalpel):
    same, other = scalpel("diff", "model", "model"), scalpel("diff", "model", "tuned")
    assert "is 0 over all weights; 0 of their entries changed" in " ".join(same.out.split())
    assert other.code == 0 and "down" in other.out and "is 0 over" not in " ".join(other.out.split())


def test_measure_prints_a_ledger_and_writes_it_where_asked(scalpel):
    ran = scalpel("measure", "tuned", "--base", "model", "--probes", "probes.toml", "--out", "books")
    assert ran.code == 0, ran.err
    assert "say" in ran.out and "too few" in ran.out and "text" in ran.out
    summary = json.loads((scalpel.folder / "books" / "ledger" / "summary.json").read_text())
    assert summary["probes"]["say"]["items"] == 4 and summary["probes"]["text"]["value"]["after"] > 0


def test_measure_of_a_model_against_itself_finds_no_drift(scalpel):
    books = package.measure("model", base="model", probes="probes.toml")
    drift = next(book for book in books if book.probe == "text")
    assert all(entry.logp_after == pytest.approx(0.0, abs=1e-6) for entry in drift.entries)


def test_generate_is_the_same_for_the_same_seed_and_prints_the_answer_alone(scalpel):
    arguments = ("generate", "model", "hello", "--max-tokens", 8, "--temperature", 1.5)
    first, again, other = (scalpel(*arguments, "--seed", seed) for seed in (1, 1, 2))
    assert first.out == again.out != other.out
    assert first.code == 0 and first.err == ""


def test_generate_without_a_prompt_answers_each_line_and_remembers(scalpel, monkeypatch):
    asked = []
    real = package.models.load("model")[1].__class__.prompt

    def prompt(tokens, what):
        asked.append(what)
        return real(tokens, what)

    monkeypatch.setattr("scalpel.data.tokenizer.Tokens.prompt", prompt)
    ran = scalpel("generate", "model", "--max-tokens", 2, typed="one\ntwo\n\nthree\n")
    assert ran.code == 0, ran.err
    assert [[m["role"] for m in messages] for messages in asked] == [["user"], ["user", "assistant", "user"], ["user"]]


def test_generate_plain_goes_on_with_the_text(scalpel):
    chat, plain = (
        scalpel("generate", "model", "hi", "--max-tokens", 6),
        scalpel("generate", "model", "hi", "--max-tokens", 6, "--plain"),
    )
    assert plain.code == 0 and plain.out != chat.out


def test_methods_lists_every_row(scalpel):
    from scalpel.methods import ROWS

    printed, markdown = scalpel("methods").out, scalpel("methods", "--markdown").out
    assert all(name in printed and f"| `{name}` |" in markdown for name in ROWS)


def test_methods_brings_a_document_up_to_date_and_check_tells_when_it_is_not(scalpel):
    scalpel.write("page.md", "before\n<!-- scalpel methods: rows -->\nold\n<!-- end -->\nafter\n")
    stale = scalpel("methods", "page.md", "--check")
    assert stale.code == 2 and "page.md" in stale.said
    assert "old" in (scalpel.folder / "page.md").read_text()
    assert scalpel("methods", "page.md").code == 0
    text = (scalpel.folder / "page.md").read_text()
    assert text.startswith("before\n") and text.endswith("<!-- end -->\nafter\n") and "`sft`" in text
    assert scalpel("methods", "page.md", "--check").code == 0


def test_world_card_measures_a_model_of_the_world(scalpel, monkeypatch):
    from scalpel import models
    from scalpel.data.tokenizer import Tokens
    from scalpel.world import tokenizer
    from scalpel.world.shape import untrained

    monkeypatch.setattr("scalpel.pretraining.card.ABILITIES", ("reverse",))
    monkeypatch.setattr("scalpel.pretraining.card.HELD_BACK", {"multiply": "steps"})
    models.save(untrained("world-300k"), Tokens(tokenizer()), scalpel.folder / "small")
    ran = scalpel("world", "card", "small", "--items", 2)
    assert ran.code == 0, ran.err
    assert "reverse" in ran.out and (scalpel.folder / "small" / "card.json").exists()


def test_what_is_asked_for_goes_to_stdout_and_all_else_to_stderr(scalpel):
    shown = scalpel("diff", "model", "tuned")
    assert "of their entries changed" in " ".join(shown.out.split()) and shown.err == ""
    trained = scalpel("train", "recipe.toml", "train.steps=1")
    assert "tokens are trained" in trained.said and "tokens are trained" not in trained.out


def test_the_functions_have_the_names_of_the_commands():
    for name in ("train", "compare", "measure", "diff", "generate", "report"):
        assert callable(getattr(package, name)), name
    assert package.generate.__module__ == "scalpel.api"


def test_what_the_package_does_not_have_is_refused():
    assert package.Pair.__name__ == "Pair"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = package.trian


def test_importing_the_package_is_light():
    code = (
        "import sys, scalpel; print('torch' in sys.modules, len([m for m in sys.modules if m.startswith('scalpel')]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "1"]


def test_train_as_a_function_returns_the_run_folder(scalpel):
    assert package.train("recipe.toml", ["train.steps=1"], out="there") == type(scalpel.folder)("there")
    assert (scalpel.folder / "there" / "summary.json").exists()
