"""TensorBoard gets the numbers of metrics.jsonl, and its absence is said in words."""

import sys
import warnings

import pytest

from running import records, tables
from scalpel.runs.folder import RunFolder
from scalpel.training.loop import train
from scalpel.training.tracking import tracker


def scalars(folder) -> dict[str, dict[int, float]]:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = events.EventAccumulator(str(folder / "tensorboard")).Reload()
        return {tag: {e.step: e.value for e in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_every_number_of_the_record(at, tmp_path):
    train(tables(at, {"method": "sft", "steps": 3}, track="tensorboard"), RunFolder(tmp_path))
    seen = scalars(tmp_path)
    log = records(tmp_path)
    assert {tag.removeprefix("train/") for tag in seen} == {*log[0], "seconds"} - {"kind", "stage", "step"}
    for line in log:
        assert seen["train/loss"][line["step"]] == pytest.approx(line["loss"], rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_resumed_run_is_one_curve(at, tmp_path):
    recipe = tables(at, {"method": "sft", "steps": 5, "checkpoint_every": 2}, track="tensorboard")

    def stop(record) -> None:
        if record["step"] == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(recipe, RunFolder(tmp_path), tell=stop)
    train(recipe, RunFolder(tmp_path, True), resume=True)
    assert sorted(scalars(tmp_path)["train/loss"]) == [1, 2, 3, 4, 5]


def test_without_tensorboard_the_words_say_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install \"scalpel-lm\[track\]\", or leave `track` out"):
        tracker("tensorboard", tmp_path)


def test_an_unknown_tracker_is_refused_with_the_recipe(at):
    with pytest.raises(ValueError, match="track is 'tensorbord'.*\"tensorboard\""):
        tables(at, {"method": "sft"}, track="tensorbord")
