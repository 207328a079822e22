"""Going on with a run: what is finished stays, what has changed is named, and no measurement costs what is trained."""

import json
import logging
import os

import pytest
from safetensors.torch import load_file, save_file

import scalpel
import tiny
from running import equal, records, tables
from scalpel.config.changes import changes, refuse_other
from scalpel.config.merge import merge
from scalpel.config.recipe import write
from scalpel.experiments import single
from scalpel.experiments.single import run_recipe
from scalpel.runs.folder import RunFolder
from scalpel.training.input_digests import differing, files_of, rows_of
from scalpel.training.loop import train
from scalpel.training.step import NonFiniteLoss

CODE = "def short(completions, **columns):\n    return [-float(len(text)) for text in completions]\n"
STAGE = {"method": "grpo", "steps": 4, "batch": 2, "checkpoint_every": 1}
PROBE = {"name": "words", "task": {"name": "world/reverse"}, "n": 2, "max_tokens": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.folder(tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture
def at(base, tmp_path):
    """A place of its own, since the tests change what is there."""
    place = tmp_path / "at"
    place.mkdir()
    os.symlink(base, place / "llama")
    (place / "rows.jsonl").write_text("".join(json.dumps({"prompt": f"{n}>", "answer": "1"}) + "\n" for n in range(8)))
    (place / "code.py").write_text(CODE)
    return place


def recipe(at, stage=(), **over):
    found = {"data": {"rewards": [f"{at / 'code.py'}:short"]}, "task": {"shares": {"train": 1}}, "models": {}}
    return tables(at, merge(STAGE, dict(stage)), **merge(found, over)).model_copy(update={"models": {}})


def stopped(made, folder, step: int = 2):
    """A run that was stopped by an error of no concern, after that step."""

    class Stop(Exception):
        pass

    def stop(self, record) -> None:
        if record["step"] > step:
            raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(single.Watcher, "tell", stop)
        run_recipe(made, folder)
    return folder


def content(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- finished, or never begun ---------------------------------------------------------------------------------


def test_a_finished_run_says_so_and_stays_and_a_new_one_is_begun_where_nothing_is(at, tmp_path, caplog):
    made, folder = recipe(at, measure={"probes": [PROBE]}), tmp_path / "run"
    with caplog.at_level(logging.WARNING, "scalpel"):
        summary = run_recipe(made, folder, resume=True)
    assert "holds no checkpoint to resume from: the run starts at its first step" in caplog.text
    before = content(folder)
    assert "trained.json" not in before and {"inputs.json", "summary.json", "model/config.json"} <= before.keys()
    with caplog.at_level(logging.WARNING, "scalpel"):
        assert run_recipe(made, folder, resume=True).keys() == summary.keys()
    assert "is finished, after 4 steps: nothing was run" in caplog.text
    with pytest.raises(ValueError, match=r"steps: was 4, now 9.*let the run finish and start .*start = .*run/model"):
        run_recipe(recipe(at, {"steps": 9}), folder, resume=True)
    with pytest.raises(ValueError, match="already holds a run: continue it with --resume"):
        run_recipe(made, folder)
    assert content(folder) == before


def test_insisting_and_a_checkpoint_are_for_resuming(at):
    with pytest.raises(ValueError, match="--resume"):
        scalpel.train(recipe(at), insist=True)


# --- the recipe -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "over", "words"),
    [
        ({"learning_rate": 1e-3}, {}, r"train\.learning_rate: was 0\.01, now 0\.001.*only be lowered.*diverged"),
        ({"scope": "lora"}, {}, r"train\.scope: was 'all', now 'lora'"),
        ({"batch": 5}, {"seed": 3}, r"seed: was 0, now 3; train\.batch: was 2, now 5"),
        ({"clip": 0.5}, {}, r"train\.clip: was 1\.0, now 0\.5"),
    ],
)
def test_a_key_that_bears_on_the_training_is_refused_with_what_it_was_and_is(at, tmp_path, stage, over, words):
    saved = write(recipe(at))
    with pytest.raises(ValueError, match=words):
        refuse_other(saved, recipe(at, stage, **over), tmp_path)


def test_keys_that_do_not_touch_the_training_may_change(at, tmp_path):
    over = {"measure": {"probes": [PROBE]}, "track": "tensorboard", "threads": 1, "name": "other"}
    made = recipe(
        at, {"log_completions": 0, "checkpoint_every": 7, "micro_tokens": 99, "gradient_checkpointing": True}, **over
    )
    found = refuse_other(write(recipe(at)), made, tmp_path)
    assert {change.key.split(".")[0] for change in found} == {"measure", "track", "threads", "name", "train"}


def test_probes_may_not_change_under_a_floor_which_leaves_their_items_out(at, tmp_path):
    keep = {"floor": 0.9, "sets": [{"name": "a", "task": {"name": "world/sort"}}]}
    was, now = (recipe(at, measure={"probes": [PROBE | {"n": n}]}, keep=keep) for n in (2, 3))
    with pytest.raises(ValueError, match=r"measure\.probes\.0\.n: was 2, now 3"):
        refuse_other(write(was), now, tmp_path)


def test_recipes_are_compared_by_what_they_mean(at):
    made = recipe(at)
    lines = [line for line in write(made).splitlines() if not line.startswith(("clip", "eps", "threads", "track"))]
    assert changes("\n".join(lines), made) == []  # an earlier version had no such keys
    assert [str(c) for c in changes(write(made) + "\n[old]\nkey = 1\n", made)] == ["old: was {'key': 1}, now not set"]


def test_the_learning_rate_may_be_lowered_where_the_run_broke_down_and_said_so(at, tmp_path):
    folder = tmp_path / "run"

    def spoil(run, stage, state) -> bool:
        if state.global_step == 2:
            next(iter(run.engine.model.parameters())).register_hook(lambda g: g * float("inf"))
        return False

    with pytest.raises(NonFiniteLoss, match="lower the learning rate, which may change"):
        train(recipe(at), RunFolder(folder), watch=spoil)
    assert json.loads((folder / "stopped.json").read_text())["may_change"] == ["learning_rate"]
    with pytest.raises(ValueError, match="learning_rate"):
        train(recipe(at, {"learning_rate": 1.0}), RunFolder(folder, True), resume=True)
    train(recipe(at, {"learning_rate": 1e-3}), RunFolder(folder, True), resume=True)
    assert not (folder / "stopped.json").exists()
    lines = records(folder)
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4]
    assert [line["what"] for line in lines if line["kind"] == "changed"] == [
        ["train.learning_rate: was 0.01, now 0.001"]
    ]


# --- what it reads --------------------------------------------------------------------------------------------


def add_row(at):
    with (at / "rows.jsonl").open("a") as lines:
        lines.write('{"prompt": "new>", "answer": "1"}\n')


def change_row(at):
    path = at / "rows.jsonl"
    path.write_text(path.read_text().replace('"3>"', '"4>"'))


def change_code(at):
    (at / "code.py").write_text(CODE.replace("-float", "0.5 * -float"))


def change_weight(at):
    other = at / "other"
    other.mkdir()
    for path in (at / "llama").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    weights = load_file(other / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] += 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    (at / "llama").unlink()
    other.rename(at / "llama")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_row, r"rows\.jsonl \(data\): its digest was .*were \d, and are now \d"),
        (change_row, r"rows\.jsonl \(data\).*are \d as they were, but don't say the same"),
        (change_code, r"code\.py \(rewards\)"),
        (change_weight, r"llama/model\.safetensors \(the base\)"),
    ],
)
def test_other_data_code_or_weights_are_refused_by_name_and_taken_only_if_one_insists(at, tmp_path, change, words):
    made, folder = recipe(at), tmp_path / "run"
    stopped(made, folder)
    before = content(folder)
    change(at)
    with pytest.raises(ValueError, match=rf"{words}.*--insist"):
        run_recipe(made, folder, resume=True)
    assert content(folder) == before
    run_recipe(made, folder, resume=True, insist=True)
    (noted,) = [line for line in records(folder) if line["kind"] == "changed"]
    assert noted["step"] == 2 and noted["what"]


def test_every_file_that_a_recipe_names_is_digested_with_what_it_is_of(at):
    (at / "choices.jsonl").write_text("{}\n")
    (at / "verify.py").write_text("")
    probes = [
        {"name": "a", "kind": "choose", "path": str(at / "choices.jsonl")},
        {"name": "b", "task": {"name": "jsonl", "path": str(at / "rows.jsonl"), "verify": f"{at / 'verify.py'}:f"}},
    ]
    found = {
        path.rpartition("/")[2]: about["of"] for path, about in files_of(recipe(at, measure={"probes": probes})).items()
    }
    assert found["choices.jsonl"] == found["verify.py"] == "a probe"
    assert found["rows.jsonl"] == "data, a probe" and found["code.py"] == "rewards"
    assert found["config.json"] == found["model.safetensors"] == found["tokenizer.json"] == "the base"


def test_a_change_of_the_file_that_leaves_the_rows_alone_is_no_change(at, tmp_path):
    made, folder = recipe(at), stopped(recipe(at), tmp_path / "run")
    path = at / "rows.jsonl"
    path.write_text(path.read_text() + "\n\n")
    run_recipe(made, folder, resume=True)
    assert records(folder)[-1]["step"] == 4


def test_rows_are_told_by_what_they_say_and_in_which_order():
    from scalpel.data.example import Example

    rows = [Example("a", id="1"), Example("b", label=False, id="2")]
    assert rows_of(rows) == rows_of(list(rows)) and rows_of(rows)["rows"] == 2
    assert len({rows_of(x)["digest"] for x in (rows, rows[::-1], rows[:1], [rows[0], Example("b", id="2")])}) == 4


def test_an_earlier_checkpoint_is_gone_on_from_by_its_name(at, tmp_path):
    made, folder = recipe(at), tmp_path / "run"
    run_recipe(made, tmp_path / "whole")
    stopped(made, folder, 3)
    assert [path.name for path in RunFolder(folder, True).checkpoints()] == ["checkpoint-2", "checkpoint-3"]
    run_recipe(made, folder, resume=True, checkpoint="checkpoint-2")
    assert records(folder) == records(tmp_path / "whole")
    assert equal(*(load_file(x / "model" / "model.safetensors") for x in (folder, tmp_path / "whole")))


# --- measuring ------------------------------------------------------------------------------------------------


def failing(monkeypatch, place: str, most: int = 0):
    """Lets something raise from its nth call on."""
    own, calls = getattr(single, place), []

    def fail(*arguments, **named):
        calls.append(1)
        if len(calls) > most:
            raise RuntimeError("this probe is broken")
        return own(*arguments, **named)

    monkeypatch.setattr(single, place, fail)


def test_a_probe_that_fails_in_the_end_costs_no_training(at, tmp_path, monkeypatch, caplog):
    made = recipe(at, {"checkpoint_every": 0}, measure={"probes": [PROBE], "points": 0})
    run_recipe(made, tmp_path / "whole")
    folder = tmp_path / "cut"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="broken"):
        failing(patch, "ledgers")
        run_recipe(made, folder)
    assert "cut/model, and --resume measures it" in caplog.text
    assert (folder / "model" / "model.safetensors").exists() and not (folder / "summary.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(single, "train", None)
        run_recipe(made, folder, resume=True)
    for name in ("ledger/words.jsonl", "delta.safetensors", "model/model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert records(folder) == records(tmp_path / "whole")


def test_an_arm_keeps_no_model_once_it_is_measured(at, tmp_path):
    run_recipe(recipe(at), tmp_path / "run", saves_model=False)
    assert not (tmp_path / "run" / "model").exists() and (tmp_path / "run" / "delta.safetensors").exists()


def test_a_probe_that_fails_along_the_way_leaves_a_checkpoint_of_that_step(at, tmp_path, monkeypatch, caplog):
    made = recipe(at, {"checkpoint_every": 0}, measure={"probes": [PROBE], "points": 2})
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="broken"):
        failing(patch, "run_probes", 1)
        run_recipe(made, tmp_path / "run")
    (saved,) = RunFolder(tmp_path / "run", True).checkpoints()
    step = records(tmp_path / "run")[-1]["step"]
    assert saved.name == f"checkpoint-{step}" and f"stopped the run after step {step}" in caplog.text
    run_recipe(made, tmp_path / "run", resume=True)
    assert [r["step"] for r in records(tmp_path / "run") if r["kind"] == "train"] == [1, 2, 3, 4]


def test_code_of_the_user_that_fails_leaves_a_checkpoint_and_the_run_goes_on_bit_for_bit(at, tmp_path):
    once = at / "once"
    text = f"import os\ndef short(completions, **columns):\n    if not os.path.exists({str(once)!r}):\n"
    (at / "code.py").write_text(
        text + "        short.calls = getattr(short, 'calls', 0) + 1\n        if short.calls > 2:\n"
        "            raise ZeroDivisionError\n    return [-float(len(text)) for text in completions]\n"
    )
    made = recipe(at, {"checkpoint_every": 0})
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        run_recipe(made, tmp_path / "cut")
    assert [p.name for p in (tmp_path / "cut" / "checkpoints").iterdir()] == ["checkpoint-2"]
    once.write_text("")
    run_recipe(made, tmp_path / "cut", resume=True)
    run_recipe(made, tmp_path / "whole")
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    assert equal(*(load_file(tmp_path / x / "model" / "model.safetensors") for x in ("cut", "whole")))


def test_a_tracker_that_fails_is_said_once_and_stops_nothing(caplog):
    from scalpel.training.tracking import unfailing

    seen = []

    def write(record) -> None:
        seen.append(record["step"])
        if record["step"] == 2:
            raise OSError("no space")

    track = unfailing(write, "tensorboard")
    for step in (1, 2, 3):
        track({"kind": "train", "step": step})
    assert seen == [1, 2] and caplog.text.count("tensorboard failed at step 2") == 1


def test_of_an_adapter_the_files_of_its_base_are_digested_as_well(at, tmp_path):
    adapter = at / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    for said in (str(at / "llama"), "../llama"):
        (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": said}))
        made = recipe(at, model={"path": str(adapter)})
        was = {"files": files_of(made)}
        names = {"/".join(path.split("/")[-2:]) for path in was["files"]}
        assert names >= {"adapter/adapter_model.safetensors", "llama/model.safetensors"}, said
    change_weight(at)
    (line,) = differing(was, {"files": files_of(made)})
    assert "llama/model.safetensors (the base): its digest was" in line
