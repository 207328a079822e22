"""Episodes: turns of the policy and of an environment, whose sampled ids are never tokenised again."""

from dataclasses import dataclass, replace

import pytest
import torch

import material
from scalpel.batch import POLICY, TEMPLATE, pack
from scalpel.config.plan import assemble
from scalpel.config.recipe import parse
from scalpel.data.example import Example
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import completion
from scalpel.engine import Sampling
from scalpel.environments import Step, make, play
from scalpel.environments.calculator import Calculator, result
from scalpel.environments.episodes import shares
from scalpel.sources.sampled import trajectory_rows
from scalpel.world.vocabulary import IDS, tokenizer

ASKED = Example(({"role": "user", "content": "12 times 34?"},), answer="408", id="a")
END = IDS["<end>"]


@dataclass(frozen=True)
class Echo:
    """Says the same again, for as many turns as it is asked to; each turn is worth its number."""

    max_turns: int = 3
    role: str = "tool"

    def reset(self, example: Example) -> int:
        return 0

    def step(self, state: int, said: str) -> Step:
        return Step(state + 1, [{"role": self.role, "content": f"again {state}"}], float(state))


def scripted(tokens: Tokens, *turns: list[str], cut: str = ""):
    """A sampler that says the k-th list of texts in the k-th call, and what it was asked."""
    asked: list[list[list[int]]] = []

    def sample(prompts, n, seed):
        asked.append([list(p) for p in prompts])
        texts = iter(turns[len(asked) - 1])
        found = []
        for prompt in prompts:
            said = [next(texts) for _ in range(n)]
            found.append(
                [
                    completion(
                        prompt, [*tokens.encode(t), *[END] * (t != cut)], stop_reason="length" if t == cut else "stop"
                    )
                    for t in said
                ]
            )
        return found

    return sample, asked


@pytest.fixture
def tokens():
    return Tokens(tokenizer())


CALCULATOR = Calculator(max_turns=2, role="user")


def test_a_call_is_answered_and_what_is_said_then_ends_the_episode(tokens):
    sample, asked = scripted(tokens, ["=12*34"], ["408"])
    (((episode),),) = play(CALCULATOR, tokens, sample, [ASKED], 1, 0, 512)
    assert [m["content"] for m in episode.messages] == ["=12*34", "408", "408"]
    assert episode.finished and tokens.text(episode.answer_ids) == "408" and len(episode.policy) == 2
    assert asked[1] == [[*tokens.prompt(ASKED.prompt), *episode.ids[: -len(episode.answer_ids)]]]


def test_the_next_turns_of_all_that_go_on_are_sampled_at_once(tokens):
    sample, asked = scripted(tokens, ["=1+1", "no", "=2+2", "=3*3"], ["2", "4", "9"])
    groups = play(CALCULATOR, tokens, sample, [ASKED, ASKED], 2, 0, 512)
    assert [len(call) for call in asked] == [2, 3]
    assert [[len(e.policy) for e in group] for group in groups] == [[2, 1], [2, 2]]
    assert [e.messages[-1]["content"] for group in groups for e in group] == ["2", "no", "4", "9"]


def test_a_turn_that_is_cut_off_is_not_answered(tokens):
    sample, _ = scripted(tokens, ["=12*34"], cut="=12*34")
    (((episode),),) = play(CALCULATOR, tokens, sample, [ASKED], 1, 0, 512)
    assert episode.stop_reason == "length" and len(episode.segments) == 1 and not episode.finished


def test_limits_end_episodes_and_are_counted(tokens):
    sample, _ = scripted(tokens, ["=1+1", "=1+1"], ["=2+2", "4"])
    (group,) = play(CALCULATOR, tokens, sample, [ASKED], 2, 0, 512)
    sample, _ = scripted(tokens, ["=1+1"])
    ((full,),) = play(CALCULATOR, tokens, sample, [ASKED], 1, 0, len(tokens.prompt(ASKED.prompt)) + 7)
    assert [e.stop_reason for e in (*group, full)] == ["turns", "stop", "context"]
    assert len(full.segments) == 1 and [e.finished for e in (*group, full)] == [True, True, False]
    found = shares([*group, full])
    assert found["episodes/turns"] == pytest.approx(5 / 3) and found["episodes/out_of_turns"] == pytest.approx(1 / 3)
    assert found["episodes/context_full"] == pytest.approx(1 / 3) and found["episodes/split"] == 0


def sampler(engine, calls):
    """The engine's own samples, each of which counts as ended, so that episodes go on."""

    def sample(prompts, n, seed):
        groups = engine.sample(prompts, Sampling(6), n, seed)
        calls.extend(list(s.ids) for group in groups for s in group)
        return [[replace(s, finished=True).behind(p) for s in group] for p, group in zip(prompts, groups, strict=True)]

    return sample


def test_what_is_trained_are_the_sampled_ids_and_the_trainer_gives_them_the_samplers_log_probs():
    engine, calls = material.engine(), []
    tokens = engine.tokens
    chats = [Example(({"role": "user", "content": text},)) for text in ("ab", "x")]
    episodes = [e for group in play(Echo(), tokens, sampler(engine, calls), chats, 2, 3, 256) for e in group]
    rows = [row for k, episode in enumerate(episodes) for row in trajectory_rows(episode, chats[k // 2], k // 2, [1.0])]
    batch = pack(rows)
    # a random model writes bytes that are no text: decoded and encoded again they are other ids
    assert any(tokens.encode(tokens.text(ids)) != ids for ids in calls)
    spoken = [list(s.ids) for episode in episodes for s in episode.policy]
    assert sorted(spoken) == sorted(calls) and len(spoken) == 4 * 3
    assert batch.ids_N[batch.train_N].tolist() == [i for ids in spoken for i in ids]
    assert (batch.author_N[batch.train_N] == POLICY).all() and (batch.author_N == TEMPLATE).any()
    assert sorted(set(batch.turn_N.tolist())) == [0, 1, 2]
    with torch.no_grad():
        logp_N = engine.score(batch).logp_N
    torch.testing.assert_close(logp_N[batch.train_N], batch.behaviour_N[batch.train_N], atol=1e-4, rtol=1e-4)


def test_rewards_of_turns_are_the_episodes():
    engine = material.engine()
    ((episode,),) = play(Echo(), engine.tokens, sampler(engine, []), [ASKED], 1, 3, 256)
    assert [s.reward for s in episode.policy] == [0, 1, 2] and episode.reward == 3


@pytest.mark.parametrize(
    ("expression", "said"),
    [("12*34", "408"), ("7/2", "3.5"), ("(1+2)*-3", "-9"), ("1/3", "0.3333333333"),
     ("1/0", "error"), ("import os", "error"), ("9" * 999, "error"), ("2**9", "error")],
)  # fmt: skip
def test_a_calculator_calculates_and_nothing_else(expression, said):
    assert result(expression) == said


def test_an_environments_table_is_bound_as_parts_are():
    assert make({"name": "calculator", "max_turns": 2, "role": "user"}) == CALCULATOR
    with pytest.raises(ValueError, match="unknown key 'max_turn': did you mean 'max_turns'"):
        make({"name": "calculator", "max_turn": 2})
    with pytest.raises(ValueError, match="did you mean 'calculator'"):
        make({"name": "calculater"})
    with pytest.raises(ValueError, match="environment.max_turns is 0, but must be an integer from 1"):
        make({"name": "calculator", "max_turns": 0})


OWN = """
from dataclasses import dataclass
from scalpel.environments import Step

@dataclass(frozen=True, kw_only=True)
class Once:
    max_turns: int = 2
    role: str = "tool"
    def reset(self, example):
        return None
    def step(self, state, said):
        return Step(state, reward=float(len(said)))
"""


def test_an_environment_may_stand_in_a_file_of_ones_own(tmp_path, tokens):
    (tmp_path / "once.py").write_text(OWN)
    made = make({"name": f"{tmp_path}/once.py:Once", "max_turns": 3})
    ((episode,),) = play(made, tokens, scripted(tokens, ["abc"])[0], [ASKED], 1, 0, 512)
    assert made.max_turns == 3 and episode.reward == 3.0 and episode.finished


def recipe(method: str, **environment):
    train = {"method": method, "environment": {"name": "calculator", **environment}}
    return parse({"model": "world-1m", "task": {"name": "world/calculator"}, "train": train})


def test_a_stage_has_an_environment_and_refuses_sources_that_would_not_hear_it():
    made = recipe("grpo", max_turns=2, role="user")
    assert assemble(made.stages[0], made).environment == CALCULATOR
    for method in ("prefix-rft", "sft"):
        made = recipe(method)
        with pytest.raises(ValueError, match="can't sample episodes: use one that can \\(accepted-samples"):
            assemble(made.stages[0], made)
