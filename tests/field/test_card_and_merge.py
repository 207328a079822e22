"""What a card and a merge write never replaces what is somebody else's."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from scalpel.models.merge import beside, merge
from scalpel.pretraining import card as cards
from scalpel.runs.targets import refuse_taken

MEASURED = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "pass_at_1": 0.4, "items": 10}
CARD = {"parameters": 10, "bytes": 40, "pretraining": None, "abilities": {"add": MEASURED}, "held_back": {}}


@pytest.fixture(autouse=True)
def no_model_is_opened(monkeypatch):
    def opened(*arguments, **named):
        raise AssertionError("a model was opened")

    monkeypatch.setattr(cards.models, "load", opened)
    monkeypatch.setattr(import_module("scalpel.models.merge"), "load", opened)


def card(folder, **more):
    """The card is refused, or a model is opened for it."""
    cards.card(folder, **more)


def test_another_models_page_is_not_replaced_by_a_card(tmp_path):
    (tmp_path / "README.md").write_text("# My model\n\nMine.\n")
    with pytest.raises(ValueError, match=r"README\.md is not the card that was made .*--force"):
        card(tmp_path)
    with pytest.raises(AssertionError, match="opened"):
        card(tmp_path, force=True)
    assert (tmp_path / "README.md").read_text() == "# My model\n\nMine.\n"


def test_a_card_of_its_own_is_written_anew_whatever_the_folder_was_called_but_not_an_edited_one(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    (tmp_path / "README.md").write_text(cards.page("as it was called", CARD))
    with pytest.raises(AssertionError, match="opened"):
        card(tmp_path)
    (tmp_path / "README.md").write_text(cards.page("x", CARD) + "\nA note of mine.\n")
    with pytest.raises(ValueError, match=r"README\.md is not the card"):
        card(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", "null", "3", '{"abilities": 3}', "{", ""])
def test_a_file_of_that_name_that_is_no_card_stays(tmp_path, text):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ValueError, match=r"card\.json is not a model card"):
        card(tmp_path)


def test_a_folder_without_pages_gets_its_card(tmp_path):
    with pytest.raises(AssertionError, match="opened"):
        card(tmp_path)


# --- merge ------------------------------------------------------------------------------------------------------


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "nowhere"}))
    monkeypatch.chdir(folder)
    return folder


def test_a_merge_goes_into_no_folder_that_holds_something(adapter, tmp_path, monkeypatch):
    full, model, link = tmp_path / "full", tmp_path / "model", tmp_path / "link"
    for folder, name in ((full, "notes.txt"), (model, "config.json")):
        folder.mkdir()
        (folder / name).write_text("{}")
    link.symlink_to(tmp_path / "gone")
    refused = {full: "holds files .notes", model: "holds a model .config", link: "link to nothing", adapter: "in"}
    refused |= {full / "notes.txt": "is a file", Path("."): "is the current folder"}
    for out, words in refused.items():
        with pytest.raises(ValueError, match=words):
            merge(adapter, out)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"adapter is there already and holds a model"):
        merge("adapter", "adapter")


def test_a_merge_may_go_into_an_empty_folder_or_a_new_one(tmp_path):
    (tmp_path / "empty").mkdir()
    refuse_taken(tmp_path / "empty")
    refuse_taken(tmp_path / "new" / "er")


def test_an_adapter_that_one_stands_in_is_merged_beside_it(adapter):
    assert beside(Path(".")) == adapter.with_name("adapter-merged")
    assert beside(Path("..")) == adapter.parent.with_name(f"{adapter.parent.name}-merged")
    assert beside(Path("x/y")) == Path("x/y-merged")
