"""Shaping rows beside the arithmetic of their papers, written out plainly: loops and whole logits in place of ours."""

from copy import deepcopy
from dataclasses import replace
from itertools import product
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

import formula_parity
import material
from scalpel.batch import Batch
from scalpel.config.plan import Stream, assemble
from scalpel.config.recipe import parse
from scalpel.data.example import Example
from scalpel.data.trajectory import Trajectory, completion
from scalpel.engine import Engine
from scalpel.methods import ROWS
from scalpel.objectives.flows import FLOW
from scalpel.part import Out, bind, zero_head
from scalpel.rewards.seen import ShapingContext
from scalpel.rewards.shaping import make as shape
from scalpel.training.step import StepMetrics, backward, prepare
from scalpel.worked_cases import case

RIGHT, WRONG = 1.0, 0.0


def stream_of(method: str, **source: Any) -> Stream:
    signals = {"0": {"source": source}} if source else {}
    recipe = parse({"model": "m", "task": {"name": "t"}, "train": {"method": method, "signals": signals}})
    return assemble(recipe.stages[0], recipe).streams[0]


def gradients(engine: Engine) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in engine.model.named_parameters() if p.grad is not None}


def logps(engine: Engine, batch: Batch) -> list[Tensor]:
    """Of each sequence its trained tokens' log-probs, from the whole logits of a plain forward pass."""
    found = []
    for s in range(batch.S):
        ids, train = batch.ids_N[batch.seq_N == s], batch.train_N[batch.seq_N == s]
        logp_TV = engine.model(ids[None]).logits[0].log_softmax(-1)
        found.append(logp_TV[:-1].gather(1, ids[1:, None])[:, 0][train[1:]])
    return found


def states(engine: Engine, batch: Batch) -> list[Tensor]:
    """Of each sequence the hidden states before its trained tokens."""
    found = []
    for s in range(batch.S):
        ids, train = batch.ids_N[batch.seq_N == s], batch.train_N[batch.seq_N == s]
        found.append(engine.model.base_model(ids[None]).last_hidden_state[0][:-1][train[1:]])
    return found


def agree(engine: Engine, mine: float, theirs: Tensor) -> None:
    ours = gradients(engine)
    engine.model.zero_grad(set_to_none=True)
    theirs.backward()
    assert mine == pytest.approx(float(theirs.detach()), rel=1e-4)
    assert any(float(g.abs().max()) > 1e-5 for g in ours.values())
    for name, g in gradients(engine).items():
        torch.testing.assert_close(ours[name], g, rtol=1e-3, atol=1e-6)


# --- recomposition ---------------------------------------------------------------------------------------


def by_hand_recomposed(rewards: list[float], lengths: list[int], share: float = 0.5) -> list[bool]:
    """Which samples of a group a priority batch holds: the shortest right ones, the longest wrong ones."""
    chosen = [False] * len(rewards)
    for right in (True, False):
        mine = [i for i, r in enumerate(rewards) if (r > 0.5) == right]
        mine.sort(key=lambda i: lengths[i] if right else -lengths[i])
        for i in mine[: max(1, round(share * len(mine)))]:
            chosen[i] = True
    return chosen


def test_rorecomp_is_grpo_over_short_right_and_long_wrong_samples() -> None:
    engine, stream = material.engine(), stream_of("rorecomp", size=4)
    batch = stream.source(material.uneven(material.context(engine, seed=11)))
    reward_S = torch.tensor([RIGHT, RIGHT, RIGHT, WRONG, RIGHT, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG])
    batch = replace(batch, reward_SK=reward_S[:, None])
    mine = backward(engine, stream, batch, 0.0, 2, StepMetrics())
    logp, total, chosen = logps(engine, batch), torch.zeros(()), []
    for g in range(3):
        group = [4 * g + k for k in range(4)]
        r = reward_S[group]
        advantage = (r - r.mean()) / (r.std() + 1e-4)
        kept = by_hand_recomposed(r.tolist(), [len(logp[s]) for s in group])
        chosen += kept
        for s, a, keep in zip(group, advantage, kept, strict=True):
            total = total - keep * a * (logp[s] - logp[s].detach()).exp().mean() / 12
    assert 0 < sum(chosen) < 12 and len({len(x) for x in logp}) > 1
    agree(engine, mine, total)


# --- meta reinforcement ----------------------------------------------------------------------------------


def scripted(thoughts: list[str], answers: dict[str, list[str]]) -> Any:
    """A policy that writes these thoughts, and when it is made to stop after some of one, these answers; right is
    what ends with "7"."""
    engine = material.engine()
    tokens = engine.tokens
    spoken: list[str] = []

    def sample(prompts: Any, n: int, seed: int, limits: Any = None) -> list[list[Trajectory]]:
        found = []
        for prompt in prompts:
            text = tokens.tokenizer.decode(prompt)
            spoken.append(text)
            said = answers[text.removeprefix("p>")] if text.endswith("=") else thoughts[:n]
            found.append([completion(prompt, ids := tokens.completion(t, ""), [-1.0] * len(ids)) for t in said])
        return found

    def reward(examples: Any, samples: Any) -> list[list[list[float]]]:
        return [[[float(tokens.text(s.ids).endswith("7"))] for s in group] for group in samples]

    context = material.context(engine, [Example("p>")], sample=sample, reward=reward, max_tokens=30)
    return context, spoken


def test_the_progress_of_an_episode_is_what_it_adds_to_the_success_of_forced_answers() -> None:
    answers = {"=": ["1", "2"], "ab;=": ["7", "1"], "ab;cd;=": ["7", "7"], "x;=": ["3", "4"]}
    context, spoken = scripted(["ab;cd;e7", "x;y9"], answers)
    source = bind("source", "probed-groups", size=2, cut=";", force="=", provers=2, episodes=4, room=3)
    batch = source(context)
    # J of the first thought: 0 → ½ → 1, and it ends right; of the second: 0 → 0, and it ends wrong
    inside = [0, 0, 0.5, 0, 0, 0.5, 0, 0, 0.0, 0, 0.0, 0, 0, 0.0]
    assert batch.reward_N is not None
    assert batch.reward_N[batch.train_N].tolist() == inside
    assert batch.turn_N[batch.train_N].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 1, 1, 1]
    assert batch.reward_S.tolist() == [1.0, 0.0] and len(spoken) == 1 + 4  # each point is asked once
    progress = bind("credit", "progress", alpha=2.0)(Out(torch.zeros(batch.N)), batch)
    by_episode = [0.5 + 2 * 0.5] * 3 + [0.5 + 2 * 0.5] * 3 + [0.5] * 3 + [-0.5] * 5
    assert progress[batch.train_N].tolist() == by_episode
    kept = bind("credit", "made-progress")(Out(torch.zeros(batch.N)), batch)
    assert kept[batch.train_N].tolist() == [1.0] * 9 + [0.0] * 5


def test_mrt_weighs_a_continuation_by_its_reward_less_that_of_stopping_at_once() -> None:
    answers = {"=": ["1", "2"], "ab;=": ["7", "1"]}
    context, spoken = scripted(["ab;e7", "ab;f9"], answers)
    row = stream_of("mrt", size=2, cut=";", force="=", provers=2, room=3)
    batch = row.source(context)
    start = next(text for text in reversed(spoken) if text.endswith("=")).removeprefix("p>").removesuffix("=")
    J = {"": 0.0, "ab;": 0.5}[start]
    assert row.source.hyper["begun"] and batch.S == 2
    shown = context.tokens.tokenizer.decode(batch.ids_N[(batch.seq_N == 0) & ~batch.train_N])
    assert shown == "p>" + start
    credit = row.signals[0].credits[0](Out(torch.zeros(batch.N)), batch)
    by_sample = [float(credit[(batch.seq_N == s) & batch.train_N].unique()) for s in range(2)]
    assert by_sample == [1.0 - J, 0.0 - J]


# --- flows -----------------------------------------------------------------------------------------------


def owning(**others: int) -> Engine:
    engine = material.engine(**others)
    head = zero_head(16)
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    engine.owned = torch.nn.ModuleDict({"flow": head})
    return engine


def by_hand_flow(method: str, f: Tensor, lp: Tensor, log_R: float) -> Tensor:
    """One sequence's loss, and for detailed balance the sum over its tokens; `lp` are log-probs over the prior's."""
    F = [*f, torch.tensor(log_R)]
    if method == "gflow-tb":
        return (F[0] + lp.sum() - log_R) ** 2
    if method == "gflow-db":
        return torch.stack([(F[t] + lp[t] - F[t + 1]) ** 2 for t in range(len(lp))]).sum()
    pairs = [(i, j) for j in range(len(F)) for i in range(j)]
    parts = [0.9 ** (j - i) * (F[i] + lp[i:j].sum() - F[j]) ** 2 for i, j in pairs]
    return torch.stack(parts).sum() / sum(0.9 ** (j - i) for i, j in pairs)


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("method", ["gflow-tb", "gflow-subtb", "gflow-db"])
def test_balance_is_what_double_loops_say_of_weights_and_of_the_zero_head(method: str, pieces: int) -> None:
    engine, stream = owning(reference=1), stream_of(method, size=3)
    batch = prepare(engine, stream, stream.source(material.uneven(material.context(engine))), 0.0)
    assert len(batch.length_S.unique()) > 3
    mine = backward(engine, stream, batch, 0.0, pieces, StepMetrics())
    head = engine.owned["flow"]
    own = head.weight.grad.clone()
    engine.owned.zero_grad(set_to_none=True)
    total, count, prior = torch.zeros(()), 0, referred(batch)
    for s, (lp, h) in enumerate(zip(logps(engine, batch), states(engine, batch), strict=True)):
        log_R = log(max(float(batch.reward_S[s]), 1e-3))
        total = total + by_hand_flow(method, head(h)[:, 0], lp - prior[s], log_R)
        count += len(lp) if method == "gflow-db" else 1
    agree(engine, mine, total / count)
    torch.testing.assert_close(own, head.weight.grad, rtol=1e-3, atol=1e-6)


def referred(batch: Batch) -> list[Tensor]:
    """The reference's log-probs of each sequence's trained tokens."""
    assert batch.reference_N is not None
    return [batch.reference_N[batch.train_N & (batch.seq_N == s)] for s in range(batch.S)]


def in_turns(batch: Batch) -> Batch:
    """The batch with a turn for every three tokens of an answer."""
    turn_N = torch.zeros_like(batch.turn_N)
    for s in range(batch.S):
        at_n = (batch.train_N & (batch.seq_N == s)).nonzero()[:, 0]
        turn_N[at_n] = torch.arange(len(at_n)) // 3
    return replace(batch, turn_N=turn_N)


@pytest.mark.parametrize("method", ["gflow-tb", "gflow-subtb", "gflow-db"])
def test_balance_by_turns_of_a_reward_sharpened_over_a_prior_with_thoughts_that_count_less(method: str) -> None:
    engine, objective = owning(reference=1), {"floor": 0.2, "sharpness": 2.0, "prior": 0.5}
    objective |= {} if method == "gflow-tb" else {"unit": "turn"}
    signal = {"source": {"size": 3}, "credit": ["earlier-turns"], "objective": objective}
    stream = formula_parity.stream_of(method=method, signals={"0": signal})
    batch = in_turns(prepare(engine, stream, stream.source(material.uneven(material.context(engine))), 0.0))
    mine = backward(engine, stream, batch, 0.0, 2, StepMetrics())
    head = engine.owned["flow"]
    own = head.weight.grad.clone()
    engine.owned.zero_grad(set_to_none=True)
    total, count, prior = torch.zeros(()), 0, referred(batch)
    for s, (lp, h) in enumerate(zip(logps(engine, batch), states(engine, batch), strict=True)):
        turns = range(0, len(lp), 3)
        F = torch.stack([head(h)[t, 0] for t in turns])
        over = lp - 0.5 * prior[s]
        P = torch.stack([over[t : t + 3].sum() * (1.0 if t == turns[-1] else 0.4) for t in turns])
        log_R = 2 * log(max(float(batch.reward_S[s]), 0.2))
        total = total + by_hand_flow(method, F, P, log_R)
        count += len(turns) if method == "gflow-db" else 1
    agree(engine, mine, total / count)
    torch.testing.assert_close(own, head.weight.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("pieces", [1, 3])
def test_balance_without_a_head_is_the_variance_within_each_prompt_over_what_is_trained(pieces: int) -> None:
    engine = material.engine(reference=1)
    signal = {"source": {"size": 4}, "objective": {"partition": "group"}}
    stream = formula_parity.stream_of(method="gflow-tb", signals={"0": signal})
    batch = prepare(engine, stream, stream.source(material.uneven(material.context(engine))), 0.0)
    batch = replace(batch, train_N=batch.train_N & (batch.seq_N != 5))  # one that was cut off, say
    mine = backward(engine, stream, batch, 0.0, pieces, StepMetrics())
    excess, total = [], torch.zeros(())
    for lp, ref, r in zip(logps(engine, batch), referred(batch), batch.reward_S.tolist(), strict=True):
        excess.append((lp - ref).sum() - log(max(r, 1e-3)))
    for g in range(3):
        group = torch.stack([excess[s] for s in range(4 * g, 4 * g + 4) if s != 5])
        total = total + ((group - group.mean()) ** 2).sum()
    agree(engine, mine, total / batch.S)


@pytest.mark.parametrize("name", ["tb", "subtb", "db"])
def test_at_its_minimum_each_samples_in_proportion_to_reward(name: str) -> None:
    """All answers of two letters in a table: π(a)·π(b | a), flows of the three states, rewards 1 to 4."""
    answers, rewards = list(product(range(2), range(2))), [1.0, 2.0, 3.0, 4.0]
    first, second = torch.zeros(2, requires_grad=True), torch.zeros(2, 2, requires_grad=True)
    root, after = torch.zeros((), requires_grad=True), torch.zeros(2, requires_grad=True)
    table = [first, second, root, after]
    _, batch = case([[0.0, 0.0]] * 4, reward=rewards, group=[0] * 4)
    bound, optimiser = bind("objective", name, prior=0.0), torch.optim.Adam(table, lr=0.05)
    for _ in range(400):
        rows = [torch.stack([first.log_softmax(0)[a], second.log_softmax(1)[a, b]]) for a, b in answers]
        streams = [torch.stack([root, after[a]]) for a, _ in answers]
        pad = torch.zeros(1)
        out = Out(
            torch.cat([x for row in rows for x in (pad, row)]),
            terms={FLOW: torch.cat([x for row in streams for x in (pad, row)])},
        )
        loss, _ = bound(out, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    policy = torch.stack([row.sum().exp() for row in rows])
    torch.testing.assert_close(policy, torch.tensor(rewards) / 10, atol=0.01, rtol=0)
    assert float(root.detach()) == pytest.approx(log(10), abs=0.05)  # Z is the sum of all rewards
    if name != "tb":
        torch.testing.assert_close(after.detach().exp(), torch.tensor([3.0, 7.0]), atol=0.2, rtol=0)


LETTERS, GOOD = 30, 0.2  # strings of two letters; how often the reference writes the right one


def enumerable() -> tuple[Tensor, Tensor]:
    """A reference's probability of each of 900 strings, and their rewards: one alone is right."""
    first, second = torch.randn(LETTERS).double().softmax(0), torch.randn(LETTERS, LETTERS).double().softmax(1)
    first[0] = 0.0
    first = torch.cat([torch.tensor([0.4]), first[1:] / first[1:].sum() * 0.6]).double()
    second[0, 0] = 0.0
    second[0] = torch.cat([torch.tensor([0.5]), second[0, 1:] / second[0, 1:].sum() * 0.5])
    reward = torch.zeros(LETTERS, LETTERS).double()
    reward[0, 0] = RIGHT
    return first[:, None] * second, reward


@pytest.mark.parametrize("method", ["gflow-tb", "gflow-subtb", "gflow-db"])
def test_the_optimum_of_the_row_succeeds_and_its_loss_is_zero_there(method: str) -> None:
    torch.manual_seed(0)
    reference, reward = enumerable()
    weighed = reference * reward.clamp(min=1e-3)
    optimum = weighed / weighed.sum()
    # 0.2 / (0.2 + 0.8 · 0.001)
    assert float(optimum[0, 0]) == pytest.approx(GOOD / (GOOD + (1 - GOOD) * 1e-3)) and float(optimum[0, 0]) > 0.99
    noise = reward.clamp(min=1e-3) / reward.clamp(min=1e-3).sum()
    assert float(noise[0, 0]) < 0.55  # what was to be learnt without the prior: one right string among 899 wrong ones

    def steps(table: Tensor) -> list[list[float]]:
        """log of the first letter and of the second after it, for each string."""
        before = table.sum(1)
        return [[log(before[a]), log(table[a, b] / before[a])] for a, b in strings]

    strings = list(product(range(LETTERS), range(LETTERS)))
    after = weighed.sum(1) / reference.sum(1)  # the reward that is to be expected after a letter
    flows = [[log(weighed.sum()), log(after[a])] for a, _ in strings]
    stream = stream_of(method, size=2)
    objective = stream.signals[0].objective
    assert objective is not None
    out, batch = case(
        steps(optimum), reference=steps(reference), reward=reward.flatten().tolist(), group=[0] * 900,
        terms={FLOW: flows},
    )  # fmt: skip
    assert float(objective(out, batch)[0]) == pytest.approx(0.0, abs=1e-6)
    assert objective.hyper["prior"] == 1.0 and "reference" in stream.reads(0.0)


# --- episodic memory -------------------------------------------------------------------------------------

PLACES = {"p": (1.0, 0.0), "q": (0.8, 0.6), "good": (0.0, 1.0), "fine": (0.6, 0.8), "bad": (-1.0, 0.0)}


def looked_at(memory: dict, prompt: str, said: list[str], earned: list[float], step: int = 0, **options: Any) -> Any:
    embed = lambda texts: torch.tensor([PLACES[t] for t in texts])  # noqa: E731
    example = Example(prompt)
    seen = ShapingContext([example] * len(said), said, [0] * len(said), [1] * len(said), earned, memory, step, embed)
    return shape({"name": "episodic", **options})(seen)


def test_an_answer_is_paid_for_nearness_to_successes_and_distance_from_failures() -> None:
    memory: dict[str, Any] = {}
    assert looked_at(memory, "p", ["good", "bad"], [1.0, 0.0]) == [0.0, 0.0]  # nothing is remembered yet
    paid = looked_at(memory, "q", ["good", "fine", "bad"], [1.0, 1.0, 0.0])
    # exploit: 0, −√(0.6² + 0.2²), −√2, graded between −√2 and 0; explore: 1 − (0, −0.6, 1) graded between 0 and 1.6
    near = 1 - (0.6**2 + 0.2**2) ** 0.5 / 2**0.5
    assert paid == pytest.approx([1 + 1 / 1.6, near + 1.0, 0.0], abs=1e-5)
    later = looked_at(memory, "p", ["bad"], [0.0], explore=0.0)
    # one neighbour: p's own success alone, at √2; the window goes on from the least to the greatest seen so far
    assert later == pytest.approx([0.0], abs=1e-5)
    two = looked_at(memory, "p", ["fine"], [0.0], explore=0.0, neighbours=2)
    centroid = ((0.0 + 0.0 + 0.6) / 3, (1.0 + 1.0 + 0.8) / 3)
    far = ((0.6 - centroid[0]) ** 2 + (0.8 - centroid[1]) ** 2) ** 0.5
    assert two == pytest.approx([1 - far / 2**0.5], abs=1e-5)


def test_exploring_is_paid_only_after_the_warm_up_and_old_answers_are_forgotten() -> None:
    memory: dict[str, Any] = {}
    looked_at(memory, "p", ["good", "bad", "fine"], [1.0, 0.0, 1.0], capacity=1)
    (kept,) = memory["right"].values()
    assert kept.tolist() == [pytest.approx(PLACES["fine"])]
    plain = looked_at(deepcopy(memory), "p", ["good", "bad"], [0.0, 0.0], step=3, warmup=4)
    only = looked_at(deepcopy(memory), "p", ["good", "bad"], [0.0, 0.0], step=4, warmup=4, exploit=0.0)
    assert plain[1] == 0.0 and only == pytest.approx([1.0, 0.0], abs=1e-5)


@pytest.mark.parametrize("method", ["memory-r", "memory-r-plus"])
def test_what_the_row_pays_from_memory_is_never_as_much_as_a_right_answer_earns(method: str) -> None:
    row = ROWS[method].stage
    table = dict(row["signals"][0]["rewards"][1])
    weight, memory = table.pop("weight", 1.0), {}
    looked_at(memory, "p", ["good", "bad"], [1.0, 0.0], step=100, **{**table, "name": "episodic"})
    paid = looked_at(memory, "q", ["good", "fine"], [0.0, 0.0], step=100, **{**table, "name": "episodic"})
    assert 0.3 < weight * max(paid) < RIGHT - WRONG
    assert row["learning_rate"] == 5e-6 and [a["beta"] for a in row["anchors"]] == [0.04]


# --- length ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_the_cosine_of_length_is_trl_s() -> None:
    trl = pytest.importorskip("trl.rewards")
    theirs = trl.get_cosine_scaled_reward(40, -3.0, -0.5, 0.5, 2.0)
    said, lengths = [r"\boxed{4}", r"\boxed{5}"] * 4, [0, 0, 7, 7, 20, 20, 39, 39]
    expected = theirs([[{"content": text}] for text in said], ["4"] * 8, [[1] * n for n in lengths])
    ours = {"most": 40, "right_short": 2.0, "right_long": 0.5, "wrong_short": -3.0, "wrong_long": -0.5}
    seen = ShapingContext([Example("2+2")] * 8, said, [0] * 8, lengths, [float("4" in t) for t in said], {}, 0, None)
    assert shape({"name": "cosine-length", **ours})(seen) == pytest.approx(expected)
