"""Recipes: unknown keys at every level, overrides, rows under a user's keys, and the way back to TOML."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpel.config.merge import merge
from scalpel.config.recipe import (
    parse,
    put,
    read,
    write,
)
from scalpel.methods import ROWS, Row

BARE = {"model": "m", "task": {"name": "world/reverse"}, "train": {"method": "sft"}}


def recipe(*overrides: str, **tables):
    return parse({**BARE, **tables}, overrides)


@pytest.mark.parametrize(
    ("override", "place", "nearest"),
    [
        ("sed=1", "sed", "seed"),
        ("model.pth='x'", "model.pth", "path"),
        ("data.itms=3", "data.itms", "items"),
        ("measure.prbes=[]", "measure.prbes", "probes"),
        ("train.learning_rat=1", "train.learning_rat", "learning_rate"),
        ("train.sampling.temprature=1", "train.sampling.temprature", "temperature"),
        ("train.validate.evry=3", "train.validate.evry", "every"),
        ("train.budget.amout=3", "train.budget.amout", "amount"),
        ("train.signals.0.sauce='groups'", "train.signals.0.sauce", "source"),
        ("compare.sedes=[1]", "compare.sedes", "seeds"),
        ("models.teacher.pth='x'", "models.teacher.pth", "path"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(override, place, nearest):
    with pytest.raises(ValueError, match="unknown key") as error:
        recipe(override)
    assert repr(place) in str(error.value) and f"did you mean {nearest!r}" in str(error.value)


def test_an_unknown_key_of_a_later_stage_is_named_by_its_place():
    tables = {**BARE, "stages": [{"method": "sft"}, {"method": "sft", "stebs": 3}]}
    tables.pop("train")
    with pytest.raises(ValueError, match=r"unknown key 'stages\.1\.stebs': did you mean 'steps'"):
        parse(tables)


def test_a_faulty_value_is_named_with_what_came():
    with pytest.raises(ValueError, match=r"train\.steps is -3, but must be an integer from 1 to"):
        recipe("train.steps=-3")


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown method 'grppo': did you mean 'grpo'"):
        recipe("train.method='grppo'")


def test_a_stage_without_anything_to_learn_is_refused():
    with pytest.raises(ValueError, match="needs a `method` or `signals`"):
        recipe(train={})


def test_train_and_stages_together_are_refused():
    with pytest.raises(ValueError, match="not both"):
        recipe(stages=[{"method": "sft"}])


def test_a_missing_recipe_and_broken_toml_are_told_apart(tmp_path):
    with pytest.raises(ValueError, match="no recipe at"):
        read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = [1,\n")
    with pytest.raises(ValueError, match="not valid TOML"):
        read(tmp_path / "bad.toml")


# --- overrides -------------------------------------------------------------------------------------------


def test_overrides_read_values_as_toml_and_else_as_text():
    tables: dict = {}
    for override in ("a.b=3", "a.c=[1, 2]", "d=word", 'e="3"', "f=true", "g=a=b"):
        put(tables, override)
    assert tables == {"a": {"b": 3, "c": [1, 2]}, "d": "word", "e": "3", "f": True, "g": "a=b"}


def test_overrides_step_into_lists_by_number():
    tables = {"arms": [{"a": 1}, {"a": 2}], "seeds": [0, 1]}
    put(tables, "arms.1.a=5")
    put(tables, "seeds.0=7")
    assert tables == {"arms": [{"a": 1}, {"a": 5}], "seeds": [7, 1]}


def test_overrides_step_into_a_table_that_is_given_by_a_text():
    tables = {"model": "m", "train": {"scope": "lora", "credit": ["gae"]}}
    for override in ("model.device='cpu'", "train.scope.rank=4", "train.credit.0.lam=0.9"):
        put(tables, override)
    assert tables["model"] == {"path": "m", "device": "cpu"}
    assert tables["train"] == {"scope": {"name": "lora", "rank": 4}, "credit": [{"name": "gae", "lam": 0.9}]}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("steps", "not of the form"),
        ("=3", "not of the form"),
        ("arms.2.a=1", "an index below 2"),
        ("arms.x=1", "an index below 2"),
        ("seed.a=1", "goes into 'seed', which is 3"),
        ("name.a.b=1", "goes into 'name', which is 'run'"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(override, words):
    with pytest.raises(ValueError, match=words):
        put({"arms": [{}, {}], "seed": 3, "name": "run"}, override)


# --- rows ------------------------------------------------------------------------------------------------


def test_a_users_keys_go_over_the_rows():
    stage = recipe("train.learning_rate=0.5").stages[0]
    assert stage.learning_rate == 0.5
    assert stage.signals[0].objective.name == "nll"


def test_an_override_reaches_into_the_signals_of_a_row():
    stage = recipe("train.method='grpo'", "train.signals.0.objective.epsilon=0.3").stages[0]
    assert stage.signals[0].objective.hyper == {"epsilon": 0.3}
    assert stage.signals[0].objective.name == "clipped-pg"
    assert stage.signals[0].source.name == "groups"


def test_another_part_drops_the_hyper_parameters_of_the_one_it_replaces():
    under = {"scope": {"name": "lift", "share": 0.1}, "anchors": [{"name": "kl"}]}
    assert merge(under, {"scope": {"name": "all"}})["scope"] == {"name": "all"}
    assert merge(under, {"scope": {"share": 0.2}})["scope"] == {"name": "lift", "share": 0.2}
    assert merge(under, {"scope": "all"})["scope"] == "all"


tables = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
nested = st.dictionaries(st.sampled_from("abcd"), tables, max_size=3)


@given(nested, nested)
def test_merging_keeps_all_keys_and_its_arguments(under, over):
    before = repr((under, over))
    merged = merge(under, over)
    assert set(merged) == set(under) | set(over)
    assert all(merged[k] == v for k, v in over.items() if not isinstance(v, dict))
    assert repr((under, over)) == before
    assert merge(merged, over) == merged


@pytest.mark.parametrize("method", sorted(ROWS))
def test_every_row_parses_and_its_resolved_recipe_reads_back_the_same(method):
    resolved = recipe(f"train.method={method!r}", "train.validate.every=5", "track='tensorboard'")
    assert parse(tomllib.loads(write(resolved))) == resolved


# --- stages ----------------------------------------------------------------------------------------------


@pytest.fixture
def several(monkeypatch):
    """A row whose paper has a stage before its own and one after it."""
    own = {"signals": ROWS["sft"].stage["signals"], "learning_rate": 3e-5}
    row = Row("", "", own, before=({"method": "dft", "steps": 7},), after=({"method": "grpo"},))
    monkeypatch.setitem(ROWS, "several", row)


def test_a_row_of_several_stages_stands_for_all_of_them(several):
    found = recipe("train.method='several'")
    assert [(s.method, s.name, s.steps) for s in found.stages] == [
        ("dft", "", 7),
        (None, "several", 100),
        ("grpo", "", 100),
    ]
    assert [s.learning_rate for s in found.stages] == [5e-5, 3e-5, 1e-6]
    assert parse(tomllib.loads(write(found))) == found


def test_what_a_user_sets_goes_over_all_stages_of_a_row_and_what_makes_its_own_stage_over_that_one(several):
    over = ("train.steps=5", "train.scope='lora'", "train.start='there'", "train.signals.0.batch=3", "train.repeat=2")
    found = recipe("train.method='several'", *over)
    assert [(s.steps, s.scope.name) for s in found.stages] == [(5, "lora")] * 3
    assert [s.start for s in found.stages] == ["there", "previous", "previous"]
    assert [s.signals[0].batch for s in found.stages] == [None, 3, None]
    assert [s.repeat for s in found.stages] == [1, 2, 1]


def test_each_stage_of_a_row_has_the_floor(several):
    found = recipe("train.method='several'", "keep.floor=0.9")
    assert [s.signals[-1].name for s in found.stages] == ["keep"] * 3


def test_an_optimiser_can_only_be_kept_where_there_is_one_of_the_same_kind():
    first = {"method": "sft"}
    with pytest.raises(ValueError, match="no earlier optimiser"):
        recipe("train.keep_optimiser=true")
    mixed = [first, {**first, "keep_optimiser": True, "optimizer": "sgd"}]
    with pytest.raises(ValueError, match="state of adamw to that of sgd"):
        parse({"model": "m", "task": {}, "stages": mixed})
    assert parse({"model": "m", "task": {}, "stages": [{**first, "keep_optimiser": True, "repeat": 2}]})
