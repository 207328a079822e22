"""The page on episodes is true: its recipe fits together, and its environment answers."""

import re
import tomllib
from pathlib import Path

import pytest

from scalpel.config.plan import assemble
from scalpel.config.recipe import parse
from scalpel.data.example import Example
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import completion
from scalpel.environments import make, play
from scalpel.environments.episodes import shares
from scalpel.registry import AXES
from scalpel.world.vocabulary import END, tokenizer

PAGE = (Path(__file__).parents[2] / "docs" / "episodes.md").read_text(encoding="utf-8")


def block(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def guess():
    exec(compile(block("python"), "episodes.md", "exec"), {"__name__": "episodes_page"})
    yield
    del AXES["environment"]["guess"]


def test_the_recipe_of_the_page_fits_together():
    recipe = parse(tomllib.loads(block("toml")))
    plans = [assemble(stage, recipe) for stage in recipe.stages]
    assert [plan.environment is not None for plan in plans] == [False, True]


def test_the_environment_of_the_page_answers_until_the_guess_is_right(guess):
    tokens = Tokens(tokenizer())
    guesses = iter(["9", "5", "7", "7"])

    def sample(prompts, n, seed):
        return [[completion(p, [*tokens.encode(next(guesses)), END])] for p in prompts]

    asked = Example(({"role": "user", "content": "which number?"},), answer="7")
    ((episode,),) = play(make({"name": "guess", "max_turns": 5}), tokens, sample, [asked], 1, 0, 512)
    assert [m["content"] for m in episode.messages] == ["9", "too high", "5", "too low", "7"]
    assert episode.reward == 1.0 and episode.finished and next(guesses) == "7"


def test_the_page_is_linked_and_every_number_of_the_record_explained():
    root = Path(__file__).parents[2] / "docs"
    pages = {name: (root / name).read_text(encoding="utf-8") for name in ("architecture.md", "metrics.md")}
    assert all("(episodes.md)" in text for text in pages.values())
    assert all(f"| `{name}` |" in pages["metrics.md"] for name in shares([completion([1], [2])]))
