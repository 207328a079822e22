"""Every recipe in the repository can be read, and its parts fit together."""

from pathlib import Path

import pytest

from scalpel.config.plan import assemble
from scalpel.config.recipe import read
from scalpel.experiments.arm import arm_of
from scalpel.training.loop import train

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))
SMOKE = [path for path in RECIPES if path.parent.name == "smoke"]


def test_there_are_recipes():
    assert {path.stem for path in RECIPES} >= {"first", "smollm2"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_reads_and_each_of_its_arms_fits_together(path):
    recipe = read(path)
    arms = [arm_of(table, recipe.compare, recipe) for table in recipe.compare.arms] if recipe.compare else []
    assert all(arm.recipe.stages for arm in arms)
    for stage in recipe.stages:
        assemble(stage, recipe)
    assert arms or recipe.stages


@pytest.mark.parametrize("path", SMOKE, ids=lambda path: path.stem)
def test_a_smoke_recipe_runs(path):
    steps: list[int] = []
    recipe = read(path, ["threads=1"])
    train(recipe, tell=lambda record: steps.append(record["step"]))
    assert len(steps) == sum(stage.steps for stage in recipe.stages)
