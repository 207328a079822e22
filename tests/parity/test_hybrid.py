"""Hybrid rows beside their papers' formulas, written out sequence by sequence on the model's own logits: the same loss
and the same gradient of every weight."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, exp, log, pi
from typing import Any

import pytest
import torch
from torch import Tensor

import material
from scalpel.batch import DEMONSTRATION, Batch
from scalpel.config.merge import merge
from scalpel.config.plan import Stream, assemble
from scalpel.config.recipe import Recipe, parse
from scalpel.engine import Engine
from scalpel.methods import ROWS
from scalpel.part import scheduled
from scalpel.training.step import StepMetrics, backward, prepare
from scalpel.worked_cases import case

EPSILON, LENGTH = 0.2, 64  # the rows' clip range and fixed length
Gradients = dict[str, Tensor]


@dataclass
class Seen:
    """One sequence as a formula sees it: log-probs and entropies of its trained tokens, who wrote them, its reward."""

    logp: Tensor
    entropy: Tensor
    given: Tensor
    reward: float
    group: int


def stage_of(method: str, **over: Any) -> tuple[Recipe, list[Stream]]:
    recipe = parse({"model": "m", "task": {"name": "t"}, "train": merge({"method": method}, over)})
    return recipe, list(assemble(recipe.stages[-1], recipe).streams)


def own_view(engine: Engine, batch: Batch) -> list[Seen]:
    """Every sequence alone through the model itself."""
    assert len(batch.length_S.unique()) > 2, "of equal lengths, a mean over tokens would be one over sequences"
    found = []
    for s in range(batch.S):
        mine_N = batch.seq_N == s
        ids, train = batch.ids_N[mine_N], batch.train_N[mine_N]
        logits_TV = engine.model(ids[None], use_cache=False).logits[0].log_softmax(-1)[:-1]
        logp = logits_TV.gather(1, ids[1:, None])[:, 0][train[1:]]
        entropy = -(logits_TV.exp() * logits_TV).sum(-1)[train[1:]]
        given = (batch.author_N[mine_N] == DEMONSTRATION)[train]
        reward = float(batch.reward_S[s]) if batch.reward_SK is not None else 0.0
        found.append(Seen(logp, entropy, given, reward, int(batch.group_S[s])))
    return found


def gradients(engine: Engine) -> Gradients:
    found = {n: p.grad.clone() for n, p in engine.model.named_parameters() if p.grad is not None}
    engine.model.zero_grad()
    return found


def agree(
    engine: Engine, streams: Sequence[Stream], batches: Sequence[Batch], theirs: Tensor, progress: float = 0.0
) -> None:
    """Our loss through engine, credits, objectives and step, in two micro-batches or more, against `theirs`."""
    theirs.backward()
    expected = gradients(engine)
    pairs = zip(streams, batches, strict=True)
    loss = sum(backward(engine, f, prepare(engine, f, b, progress), progress, 2, StepMetrics()) for f, b in pairs)
    assert loss == pytest.approx(float(theirs.detach()), rel=1e-4, abs=1e-6)
    mine = gradients(engine)
    assert expected.keys() == mine.keys() and max(float(g.abs().max()) for g in expected.values()) > 1e-5
    for name, g in expected.items():
        torch.testing.assert_close(mine[name], g, rtol=1e-3, atol=1e-6)


def judged(by: Callable[[int, int], float], **changes: Any) -> Any:
    """A source context of samples of unequal lengths, of which sample k of prompt g gets that reward."""
    engine = material.engine()
    reward = lambda examples, samples: [[[by(g, k)] for k in range(len(ways))] for g, ways in enumerate(samples)]  # noqa: E731
    return engine, material.uneven(material.context(engine, reward=reward, **changes))


def mixed(g: int, k: int) -> float:
    """Prompt 0 has some right, prompt 1 none of its own, prompt 2 all; the last of four is the demonstration."""
    return 1.0 if k == 3 else float([k == 0, False, True][g])


def bonus(seen: Sequence[Seen]) -> Tensor:
    """The entropy bonus of the recipes that have one: 0.001 times the mean over all tokens, whoever wrote them."""
    return 0.001 * torch.cat([x.entropy for x in seen]).mean()


def of_group(seen: Sequence[Seen], group: int, own: bool) -> list[float]:
    return [x.reward for x in seen if x.group == group and bool(x.given.any()) != own]


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def test_luffy_is_mixed_policy_grpo_with_shaped_demonstrations() -> None:
    engine, context = judged(mixed)
    _, streams = stage_of("luffy", signals={"0": {"source": {"size": 4}}})
    batch = streams[0].source(context)
    seen = own_view(engine, batch)
    total = torch.zeros(())
    for x in seen:
        advantage = x.reward - mean([y.reward for y in seen if y.group == x.group])  # over both kinds
        if bool(x.given.all()):
            p = x.logp.exp()
            total = total - advantage * (p / (p + 0.1)).sum()
        else:
            total = total - advantage * (x.logp - x.logp.detach()).exp().sum()  # first update: the ratio is 1
    agree(engine, streams, [batch], total / (len(seen) * LENGTH) - bonus(seen))


def test_hpt_reinforces_what_is_solved_and_imitates_what_is_not() -> None:
    engine, context = judged(mixed)
    _, streams = stage_of("hpt", signals={"0": {"source": {"size": 4}}})
    batch = streams[0].source(context)
    seen = own_view(engine, batch)
    rate = {g: mean(of_group(seen, g, own=True)) for g in range(3)}
    assert rate == {0: pytest.approx(1 / 3), 1: 0.0, 2: 1.0}
    reinforced, supervised, own_entropy, given_entropy = torch.zeros(4).unbind()
    rows = tokens = 0
    for x in seen:
        own = not bool(x.given.any())
        rows, tokens = rows + own, tokens + own * len(x.logp)
        if own and rate[x.group] > 0:
            reinforced = reinforced - (x.reward - rate[x.group]) * (x.logp - x.logp.detach()).exp().sum()
            own_entropy = own_entropy + x.entropy.sum()
        if not own and rate[x.group] <= 0:
            supervised = supervised - x.logp.sum()
            given_entropy = given_entropy + x.entropy.sum()
    given = sum(len(x.logp) for x in seen if bool(x.given.any()))
    assert rows == 9 and len(seen) == 12  # a demonstration isn't among the samples that are reinforced
    bonus = 0.001 * (own_entropy / tokens + given_entropy / given)
    agree(engine, streams, [batch], reinforced / (rows * LENGTH) + supervised / given - bonus)


@pytest.mark.parametrize("method", ["luffy", "hpt"])
def test_a_ratio_is_not_clipped_where_the_authors_don_t(method: str) -> None:
    """Of importance in the second mini-batch of each batch, whose ratios are not 1."""
    _, (stream,) = stage_of(method)
    objective = stream.signals[0].objective
    out, batch = case([[log(4.0)], [log(0.25)]], old=[[0.0], [0.0]], credit=[[1.0], [-1.0]])
    assert objective is not None and stream.mini_batches == 2
    assert float(objective(out, batch)[0]) == pytest.approx(-(4.0 - 0.25))


def test_srft_is_the_sum_of_its_four_terms() -> None:
    engine, context = judged(mixed)
    _, streams = stage_of("srft", signals={"0": {"source": {"size": 4}}})
    batch = streams[0].source(context)
    seen = own_view(engine, batch)
    tokens = {own: sum(len(x.logp) for x in seen if bool(x.given.any()) != own) for own in (True, False)}
    demonstrations = sum(bool(x.given.any()) for x in seen)
    assert demonstrations == 3 and len(seen) == 12
    total = torch.zeros(())
    for x in seen:
        entropy = float(x.entropy.detach().mean())
        if bool(x.given.all()):
            rewards = torch.tensor([y.reward for y in seen if y.group == x.group])
            advantage = float((x.reward - rewards.mean()) / (rewards.std() + 1e-4))
            total = total - 0.5 * exp(-entropy) * x.logp.sum() / tokens[False]
            total = total - advantage * x.logp.exp().mean() / demonstrations
        elif x.reward == 1.0:
            total = total - 0.1 * exp(entropy) * x.logp.sum() / tokens[True]
        else:
            total = total + x.logp.sum() / tokens[True]
    agree(engine, streams, [batch], total)


@pytest.mark.parametrize(
    ("method", "progress"), [("chord", 0.0), ("chord-mu", 0.0), ("chord-mu", 0.2), ("chord-mu", 0.9)]
)
def test_chord_is_a_share_of_each_loss(method: str, progress: float) -> None:
    engine, context = judged(lambda g, k: float(k == g))
    _, streams = stage_of(method, signals={"0": {"source": {"size": 3}}})
    batches = [stream.source(context) for stream in streams]
    falling = 0.05 + (0.9 - 0.05) * 0.5 * (1 + cos(pi * min(progress / 0.5, 1.0)))
    mu = 0.1 if method == "chord" else falling
    seen, given = own_view(engine, batches[0]), own_view(engine, batches[1])
    grpo, sft = torch.zeros(()), torch.zeros(())
    for x in seen:
        rewards = torch.tensor([y.reward for y in seen if y.group == x.group])
        advantage = float((x.reward - rewards.mean()) / (rewards.std() + 1e-4))
        grpo = grpo - advantage * (x.logp - x.logp.detach()).exp().sum()
    grpo = grpo / sum(len(x.logp) for x in seen)
    for x in given:
        p = x.logp.detach().exp()
        sft = sft - (x.logp * (p * (1 - p) if method == "chord" else 1.0)).sum()
    sft = sft / sum(len(x.logp) for x in given)
    agree(engine, streams, batches, (1 - mu) * grpo + mu * sft, progress)


def propagated(logp: Tensor, gamma: float) -> Tensor:
    """(1/N) Σ_t w_t ℓ_t of one sequence, by two plain loops."""
    loss = [-x for x in logp]
    sums = [sum((gamma ** (k - t) * loss[k] for k in range(t, len(loss))), torch.zeros(())) for t in range(len(loss))]
    scale = len(loss) / sum(sums)
    return sum((scale * w * x for w, x in zip(sums, loss, strict=True)), torch.zeros(())) / len(loss)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_ift_blends_embeddings_with_its_greedy_guesses_and_propagates_losses(kind: str) -> None:
    engine = material.engine(kind)
    _, streams = stage_of("ift")
    (stream,) = streams
    plain = stream.source(material.context(engine))
    (blend,) = stream.corrupt
    batch = blend(plain, mask_id=1, seed=0, out=engine.score(plain, needs=blend.declared("needs")))
    embed, total = engine.model.get_input_embeddings(), torch.zeros(())
    for s in range(plain.S):
        ids, train = plain.ids_N[plain.seq_N == s], plain.train_N[plain.seq_N == s]
        with torch.no_grad():
            guess = engine.model(ids[None], use_cache=False).logits[0].argmax(-1)
        guess = torch.cat([ids[:1], guess[:-1]])  # the one made for each place
        shown = torch.where(train[:, None], 0.8 * embed(ids) + 0.2 * embed(guess), embed(ids))
        logp_TV = engine.model(inputs_embeds=shown[None], use_cache=False).logits[0].log_softmax(-1)[:-1]
        total = total + propagated(logp_TV.gather(1, ids[1:, None])[:, 0][train[1:]], 0.95)
    agree(engine, streams, [batch], total / plain.S)


def prefixed(**source: Any) -> tuple[Engine, list[Stream], Batch]:
    engine, context = judged(lambda g, k: float((g + k) % 3 == 0))
    _, streams = stage_of("prefix-rft", signals={"0": {"source": {"low": 0.7, "high": 0.7, **source}}})
    return engine, streams, streams[0].source(context)


def test_prefix_rft_s_gradient_is_dr_grpo_s_on_own_tokens_and_on_the_least_certain_of_the_prefixes() -> None:
    engine, streams, batch = prefixed(size=3)
    seen = own_view(engine, batch)
    shown = torch.cat([x.entropy[x.given] for x in seen]).detach()
    least = shown.sort(descending=True).values[round(0.2 * len(shown)) - 1] - 1e-4
    total = torch.zeros(())
    for x in seen:
        advantage = x.reward - mean([y.reward for y in seen if y.group == x.group])
        counts = (~x.given | (x.entropy >= least)).float()
        total = total - advantage * (counts * (x.logp - x.logp.detach()).exp()).sum()
    agree(engine, streams, [batch], total / (len(seen) * LENGTH) - bonus(seen))


def test_the_prefix_window_opens_to_its_low_end_and_not_to_empty_prefixes() -> None:
    _, (stream,) = stage_of("prefix-rft")
    lows = [scheduled(stream.source.hyper["low"], progress) for progress in (0.0, 0.5, 1.0)]
    assert lows == pytest.approx([0.95, 0.5, 0.05])  # 0.05 + (0.95 − 0.05)·½(1 + cos(π·progress))


@pytest.mark.parametrize("alone", ["zero", "mean"])
def test_prefix_rft_with_its_own_advantages_is_the_written_out_one(alone: str) -> None:
    engine, _, batch = prefixed(size=4, continuations=1, each=2)
    credit = [{"name": "prefix-advantage", "alone": alone}]
    objective = {"name": "clipped-pg", "average": "constant"}
    _, streams = stage_of("prefix-rft", signals=[{"source": "prefix-groups", "credit": credit, "objective": objective}])
    seen = own_view(engine, batch)
    total = torch.zeros(())
    for x in seen:
        begun = bool(x.given.any())
        branch = [y.reward for y in seen if y.group == x.group and bool(y.given.any()) == begun]
        free = [y.reward for y in seen if y.group == x.group and not bool(y.given.any())]
        own = x.reward - (0.0 if alone == "zero" and len(branch) == 1 else mean(branch))
        advantage = torch.where(x.given, (x.reward - mean(free)) / len(branch), own)
        total = total - (advantage * (x.logp - x.logp.detach()).exp()).sum()
    agree(engine, streams, [batch], total / (len(seen) * LENGTH))


def test_gates_by_author_give_prefix_tokens_a_clip_range_of_their_own() -> None:
    """Two gated signals with one range are one signal; with no range for prefixes, those learn on."""
    engine, _, batch = prefixed(size=3)
    old_N = torch.where(batch.train_N, engine.score(batch).logp_N - 0.5, 0.0)  # ratios of e^½, beyond 1 + ε
    batch = material.replace(batch, old_N=old_N)

    def whole() -> Gradients:
        objective = {"name": "clipped-pg", "average": "constant"}
        one = {"source": "prefix-groups", "credit": ["group-mean"], "objective": objective}
        _, streams = stage_of("prefix-rft", signals=[one])
        backward(engine, streams[0], batch, 0.0, 1, StepMetrics())
        return gradients(engine)

    def parts(shown: float) -> Gradients:
        made = [
            {
                "name": author,
                "credit": ["group-mean", {"name": "written-by", "author": author}],
                "objective": {"name": "clipped-pg", "average": "constant", "epsilon": epsilon},
            }
            for author, epsilon in (("policy", EPSILON), ("demonstration", shown))
        ]
        made[0]["source"] = "prefix-groups"
        _, gated = stage_of("prefix-rft", signals=made)
        backward(engine, gated[0], batch, 0.0, 1, StepMetrics())
        return gradients(engine)

    expected, same, free = whole(), parts(EPSILON), parts(9.0)
    for name, g in expected.items():
        torch.testing.assert_close(same[name], g, rtol=1e-4, atol=1e-7)
    assert any(float((free[name] - g).abs().max()) > 1e-5 for name, g in expected.items())


def test_without_an_old_log_prob_prefix_tokens_have_a_ratio_of_one() -> None:
    """Shape "log-probability" is what replacing the old log-prob by the present one does."""
    engine, _, batch = prefixed(size=3)
    shown = {"name": "written-by", "author": "demonstration"}
    signal = {"source": "prefix-groups", "credit": ["group-mean", shown]}
    plain = {"name": "shaped-pg", "shape": "log-probability", "average": "constant"}
    _, replaced = stage_of("prefix-rft", signals=[{**signal, "objective": plain}])
    _, first = stage_of("prefix-rft", signals=[{**signal, "objective": {"name": "clipped-pg", "average": "constant"}}])
    moved = material.replace(batch, old_N=torch.where(batch.train_N, -3.0, 0.0))
    found = []
    for streams, given in ((replaced, moved), (first, batch)):
        backward(engine, streams[0], given, 0.0, 1, StepMetrics())
        found.append(gradients(engine))
    for name, g in found[1].items():
        torch.testing.assert_close(found[0][name], g, rtol=1e-4, atol=1e-7)


def test_rows_in_sequence_are_stages_and_the_last_keeps_its_entropy() -> None:
    for method in ("sft-then-rl", "acereason"):
        recipe, _ = stage_of(method)
        assert [s.signals[0].objective.name for s in recipe.stages] == ["nll", "clipped-pg"]  # type: ignore[union-attr]
    assert recipe.stages[-1].sampling.target_entropy == 0.3 and recipe.stages[0].sampling.target_entropy is None
    assert {"prefix-rft", "ift", "luffy", "srft", "hpt", "chord", "chord-mu"} <= set(ROWS)
