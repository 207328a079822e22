"""Recipes with anything at any place: what can't be is refused with a ValueError in words."""

from __future__ import annotations

import tomllib
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalpel.config.recipe import parse, write
from scalpel.evaluation.probes import make_probes
from scalpel.experiments.arm import arm_of
from scalpel.experiments.preflight import refuse_arms, refuse_recipe

SAY = {"name": "jsonl", "path": "rows.jsonl", "verify": "exact", "columns": {"prompt": "prompt"}}
WHOLE: dict[str, Any] = {
    "name": "whole",
    "seed": 3,
    "model": {"path": "model", "device": "cpu"},
    "models": {"teacher": "other", "judge": {"path": "third"}},
    "task": {"name": "world/reverse", "least": 3, "most": 5, "chat": True, "after": "Answer:"},
    "data": {"items": 8, "rewards": ["task", {"name": "exact", "weight": 0.5}, {"name": "cosine-length", "most": 9}]},
    "stages": [
        {
            "method": "grpo",
            "steps": 3,
            "anchors": [{"name": "kl", "beta": {"from": 0.1, "to": 0.0}}],
            "scope": {"name": "lora", "rank": 4, "targets": ["q"]},
            "sampling": {"max_tokens": 4, "stop": ["."]},
            "validate": {"every": 2},
            "budget": {"unit": "tokens", "amount": 100},
            "betas": [0.9, 0.99],
        },
        {
            "signals": [
                {
                    "name": "new",
                    "source": {"name": "groups", "size": 2},
                    "credit": ["group-zscore"],
                    "objective": "clipped-pg",
                    "task": SAY,
                    "rewards": [{"name": "given", "of": "exact", "where": "equations"}, {"name": "judge", "yes": "y"}],
                    "weight": {"from": 1, "to": 0.5, "over": "cosine", "until": 0.5},
                }
            ],
        },
    ],
    "keep": {"floor": 0.9, "sets": [{"name": "add", "kind": "tokens", "task": {"name": "world/add"}, "sure": 0.4}]},
    "measure": {
        "target": "say",
        "probes": [
            {"name": "say", "task": SAY, "n": 4, "max_tokens": 2, "stop": ["\n"], "split": "train"},
            {"name": "drift", "kind": "drift", "texts": ["one two"]},
            {"name": "more", "kind": "sampled", "task": {"name": "world/sort"}, "of": "any", "k": 2, "n": 3},
            {"name": "sums", "kind": "given", "task": {"name": "world/add", "most": 30}, "n": 3},
        ],
    },
    "compare": {"seeds": [1, 2], "arms": [{"name": "a", "method": "sft", "learning_rates": [1e-3]}, {"method": "dft"}]},
}
VALUES = st.one_of(
    st.sampled_from(
        [
            None, True, False, 0, -1, 1, 10**9, 2**63, 10**400, -(2**70), 0.0, -0.5, 1e300, 1e-300, float("nan"),
            float("inf"), float("-inf"), "", " ", "\0", "\ud800", "..", "../x", "a" * 5000, "(", "{", "world/facts",
            "jsonl", "choose", "all", "é", "²", [], {}, [[]], [{}], {"": 0}, {"name": 3}, {"from": 0}, {"name": "x"},
            {"from": 0, "to": []}, {"from": {}, "to": 1, "over": []}, date(2020, 1, 1), datetime(2020, 1, 1), (1, 2),
            b"x", object(), {3: 4}, {"0": 1}, {"²": 1},
        ]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.recursive(st.none() | st.integers(-2, 9) | st.text(max_size=2), lambda x: st.lists(x, max_size=2)),
)  # fmt: skip


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """Every place in the tables."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in inner for place in places(item, (*at, key)))] if at else [
        place for key, item in inner for place in places(item, (key,))
    ]  # fmt: skip


def changed(value: Any, place: tuple, to: Any) -> Any:
    """The tables with another value at that place."""
    if not place:
        return to
    if isinstance(value, dict):
        return {**value, place[0]: changed(value.get(place[0]), place[1:], to)}
    return [changed(item, place[1:], to) if i == place[0] else item for i, item in enumerate(value)]


def tried(raw: Any) -> None:
    """All that is done with a recipe before a model is opened."""
    try:
        recipe = parse(raw)
        assert parse(tomllib.loads(write(recipe))) == recipe
        refuse_recipe(recipe)
        if recipe.compare:
            refuse_arms(recipe.compare.arms)
            for table in recipe.compare.arms:
                arm_of(table, recipe.compare, recipe)
    except ValueError as error:
        assert str(error).strip() and type(error) is ValueError, repr(error)
        assert len(str(error)) < 4000
        str(error).encode()


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b", "answer": "b"}\n' * 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def test_the_recipe_that_is_changed_is_right_as_it_stands() -> None:
    refuse_recipe(parse(WHOLE))
    assert len(make_probes(WHOLE["measure"]["probes"], "", lambda table: __import__("scalpel").tasks.make(table))) == 4


@settings(max_examples=80, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_value_at_any_place_is_taken_or_refused_in_words(data: st.DataObject) -> None:
    raw = WHOLE
    for _ in range(data.draw(st.integers(1, 2))):
        raw = changed(raw, data.draw(st.sampled_from(places(raw))), data.draw(VALUES))
        if not isinstance(raw, dict):
            break
    tried(raw)


@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_key_at_any_table_is_taken_or_refused_in_words(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(WHOLE)))
    key = data.draw(st.sampled_from(["n", "name", "task", "path", "kind", "", "a.b", "\ud800", "x" * 999]) | st.text())
    tried(changed(WHOLE, (*place[:-1], key) if isinstance(place[-1], str) else place, data.draw(VALUES)))
