"""Reading a claim: its files are checked against each other before anything runs."""

from pathlib import Path

import pytest

from claim_folder import CLAIM, RECIPE
from scalpel.claims import every, read
from scalpel.claims.number import Number, named, number


def changed(place, old: str, new: str, recipe: bool = False):
    text = RECIPE if recipe else CLAIM
    assert old in text
    place.claim(**{"recipe" if recipe else "claim": text.replace(old, new)})
    with pytest.raises(ValueError) as error:
        read("steps")
    return str(error.value)


def test_a_claim_is_two_files(place):
    claim = read("steps")
    assert claim.id == "steps" and claim.recipe.name == "steps"
    assert [table for table, _ in claim.statement.contrasts()] == ["primary", "parts", "regime_checks"]
    assert claim.statement.sampling.items == "fresh" and claim.statement.pilot.seeds == [1000]


def test_the_other_side_takes_over_what_it_does_not_say(place):
    (_, primary), _, (_, check) = read("steps").statement.contrasts()
    assert check.sides[1] == 0.0
    assert primary.sides == (Number("moved", "fast"), Number("moved", "slow"))
    place.claim(claim=CLAIM.replace('exceeds = {arm = "slow"}', 'exceeds = {what = "gain", arm = "slow"}'))
    assert read("steps").statement.primary.sides[1] == Number("gain", "slow")


def test_keys_of_the_quantity_are_taken_over_too_and_a_best_arm_gives_way_to_a_named_one(place):
    that = '{what = "accuracy", probe = "say", best = ["fast", "slow"]}'
    place.claim(claim=CLAIM.replace('that = {what = "moved", arm = "fast"}', f"that = {that}"))
    left, right = read("steps").statement.primary.sides
    assert left.best == ("fast", "slow") == left.arms
    assert right == Number("accuracy", "slow", keys={"probe": "say"})


def test_a_difference_is_named_and_its_best_arm_is_replaced_by_the_chosen_one():
    side = number({"what": "gain", "best": ["a", "b"], "less": {"arm": "c"}})
    assert named(side) == "(gain of the best of a and b, less gain of c)" and set(side.arms) == {"a", "b", "c"}
    assert named(side.with_choices({"gain of the best of a and b": "b"})) == "(gain of b, less gain of c)"


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
        ("exceeds = 0.0", "", "give one of the two"),
        ("exceeds = 0.0", "equals = 0.0", "give both or neither"),
        ("matters = 0.9", "matters = 0.9\nby = 0.1", "`by` belongs to `exceeds`"),
        ("matters = 0.9", "", "matters"),
        ("matters = 1e-3", "matters = 0.0", "matters"),
        ('because = "less is not seen in any answer"\n', "", "because"),
        ('group = "scopes"', 'group = "scope"', "group"),
        ("seeds = [1000]", "seeds = [3]", "pilot seed 3 is a test seed, too"),
        ("looks = [2, 3]", "looks = [3, 2]", "numbers of seeds that grow"),
        ("looks = [2, 3]", "looks = [2, 3, 4]", "3 looks need 3 values of alpha"),
        ("alpha = [0.02, 0.03]", "alpha = [0.02, 0.04]", "may err in 0.05"),
        ("looks = [2, 3]", "looks = [2, 3]\nblock = 2", "isn't a multiple of block = 2"),
        ('that = {what = "moved", arm = "fast"}', 'that = {what = "moved", tuned = ["fast"]}', "block = 1"),
        (
            'that = {what = "moved", arm = "slow"}',
            'that = {what = "moved", tuned = ["slow"]}',
            "pilot seeds are no block",
        ),
        ('what = "moved", arm = "fast"', 'what = "moved", arm = "fast", tuned_on = 2', "tuned_on belongs to `tuned`"),
        ('what = "moved", arm = "fast"', 'what = "moved", tuned = ["fast"], measured = "here"', "measured"),
        ("[[parts]]", "[[part]]", "did you mean 'parts'?"),
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
        ("[compare]", "[compare]\nseeds = [0, 1]", "compare.seeds isn't read in a claim"),
        ('name = "fast"', 'name = "fast", learning_rates = [1e-3, 1e-2]', "(fast 2, slow 1)"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(place, old, new, words):
    assert words in changed(place, old, new, recipe=True)


def test_a_grid_is_said_once(place):
    grid = CLAIM.replace("seeds = [1000]", "seeds = [1000]\ngrid = [0.3, 1.0]")
    place.claim(claim=grid, recipe=RECIPE.replace("[compare]", "[compare]\nlearning_rates = [1e-3, 1e-2]"))
    with pytest.raises(ValueError, match="said twice"):
        read("steps")


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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title", "# a note\ntitle"),
        ("further.'''", "further, we think.'''"),
        ("looks = [2, 3]\nalpha = [0.02, 0.03]", "looks = [2, 4, 8]\nalpha = [0.02, 0.01, 0.01]"),
    ],
)
def test_neither_prose_nor_layout_nor_the_number_of_seeds_makes_another_claim(place, old, new):
    before = read("steps")
    place.claim(claim=CLAIM.replace(old, new, 1), recipe=RECIPE.replace("steps = 2}", "steps  =  2}"))
    assert (read("steps").digest, read("steps").runs) == (before.digest, before.runs)


def test_what_decides_makes_another_claim_and_what_is_run_other_runs(place):
    before = read("steps")
    place.claim(claim=CLAIM.replace("matters = 1e-3", "matters = 1e-2"))
    assert read("steps").digest != before.digest and read("steps").runs == before.runs
    for claim, recipe in (
        (CLAIM, RECIPE.replace("steps = 2}", "steps = 3}")),
        (CLAIM.replace("alpha", 'items = "shared"\nalpha'), RECIPE),
        (CLAIM.replace("seeds = [1000]", "seeds = [1001]"), RECIPE),
    ):
        place.claim(claim=claim, recipe=recipe)
        assert read("steps").digest != before.digest and read("steps").runs != before.runs
