"""Reading a claim: its files are checked against each other before anything runs."""

from pathlib import Path

import pytest

from claim_folder import CLAIM, RECIPE
from scalpel.claims import every, read
from scalpel.claims.claim import Number


def changed(place, old: str, new: str, recipe: bool = False):
    text = RECIPE if recipe else CLAIM
    assert old in text
    place.claim(**{"recipe" if recipe else "claim": text.replace(old, new)})
    with pytest.raises(ValueError) as error:
        read("steps")
    return str(error.value)


def test_a_claim_is_two_files(place):
    claim = read("steps")
    assert claim.id == "steps" and claim.recipe.name == "steps" and claim.statement.confidence == 0.95
    assert [part for part, _ in claim.checks()] == ["given", "tests", "besides"]


def test_the_other_side_takes_over_what_it_does_not_say(place):
    (_, given), (_, test), _ = read("steps").checks()
    assert given.numbers[1] == 0.0
    assert test.numbers == (Number("moved", "fast"), Number("moved", "slow"))
    place.claim(claim=CLAIM.replace('exceeds = {arm = "slow"}', 'exceeds = {what = "gain", arm = "slow"}'))
    assert read("steps").checks()[1][1].numbers[1] == Number("gain", "slow")


def test_keys_of_the_quantity_are_taken_over_too_and_a_best_arm_gives_way_to_a_named_one(place):
    that = '{what = "accuracy", probe = "say", best = ["fast", "slow"], chosen_on = [0], seeds = [1]}'
    place.claim(claim=CLAIM.replace('that = {what = "moved", arm = "fast"}', f"that = {that}"))
    left, right = read("steps").checks()[1][1].numbers
    assert left.best == ("fast", "slow") and left.chosen_on == (0,) and left.arms == ("fast", "slow")
    assert right == Number("accuracy", "slow", seeds=(1,), keys={"probe": "say"})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('arm = "slow"}\nexceeds', 'arm = "slwo"}\nexceeds', "did you mean 'slow'?"),
        ('what = "moved", arm = "fast"', 'what = "moves", arm = "fast"', "did you mean 'moved'?"),
        ('what = "moved", arm = "fast"', 'arm = "fast"', "does not say `what`"),
        ('what = "moved", arm = "fast"', 'what = "moved"', "needs an `arm`"),
        ('what = "moved", arm = "fast"', 'what = "accuracy", arm = "fast"', "accuracy has no 'probe'"),
        ('what = "moved", arm = "fast"', 'what = "gain", probe = "sya", arm = "fast"', "did you mean 'say'?"),
        ('what = "moved", arm = "fast"', 'what = "moved", arm = "fast", less = {arm = "slwo"}', "did you mean 'slow'?"),
        ('what = "moved", arm = "fast"', 'what = "gain", prob = "say", arm = "fast"', "did you mean 'probe'?"),
        ('arm = "fast"}\nexceeds', 'best = ["fast", "slow"]}\nexceeds', "give both"),
        ('arm = "fast"}\nexceeds', 'seeds = [7], arm = "fast"}\nexceeds', "seed 7 is none of the recipe's"),
        ("within = 0.9", "", "say `within` how much"),
        ("within = 0.9", "within = 0.9\nby = 0.1", "`by` belongs to `exceeds`"),
        ("exceeds = 0.0", "", "give one of the two"),
        ("[[tests]]", "[[test]]", "did you mean 'tests'?"),
        ('title = "A', 'titel = "A', "did you mean 'title'?"),
        ('title = "A', "title = A", "not valid TOML"),
    ],
)
def test_a_bad_claim_is_refused_with_the_place_and_a_way_out(place, old, new, words):
    said = changed(place, old, new)
    assert "claim.toml" in said and words in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[compare]", "[compair]", "did you mean 'compare'?"),
        ('name = "fast"', 'name = "quick"', "unknown arm 'fast'"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(place, old, new, words):
    assert words in changed(place, old, new, recipe=True)


def test_a_claim_without_arms_is_refused(place):
    place.claim(recipe=RECIPE[: RECIPE.index("[compare]")] + RECIPE[RECIPE.index("[measure]") :])
    with pytest.raises(ValueError, match=r"compares nothing: add \[\[compare.arms\]\]"):
        read("steps")


def test_an_unknown_claim_and_a_missing_folder_are_named(place):
    with pytest.raises(ValueError, match="did you mean 'steps'"):
        read("step")
    with pytest.raises(ValueError, match="--claims"):
        every(Path("elsewhere"))
    (place.folder / "claims" / "steps" / "recipe.toml").unlink()
    with pytest.raises(ValueError, match=r"there is no .*recipe\.toml"):
        read("steps")


def test_the_digest_follows_what_is_said_and_not_how_it_is_laid_out(place):
    before = read("steps").digest
    place.claim(claim="# a note\n" + CLAIM, recipe=RECIPE.replace("steps = 2}", "steps  =  2}"))
    assert read("steps").digest == before
    place.claim(recipe=RECIPE.replace("steps = 2}", "steps = 3}"))
    assert read("steps").digest != before
