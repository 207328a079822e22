"""What every source and corruption keeps to, by being registered."""

from dataclasses import replace
from functools import cache

import pytest
import torch

import material
from scalpel.batch import DEMONSTRATION, ENVIRONMENT, NEITHER, Batch, pack
from scalpel.data.example import Example
from scalpel.part import Bound

UNASKED = ("self-written",)  # sources that take no prompt from the examples
RETOLD = ("feedback-samples",)  # that put words before the prompt
PARTLY = ("revisions", "beneficial-steps", "interventions")  # that train a part of what follows the prompt
AIDED: dict[str, dict] = {  # for a model that follows no instruction
    "interventions": {"locate": "tried", "hard": 1.0, "proposals": 4, "tries": 4, "boundary": ""},
    "revisions": {"sizes": (4, 4)},  # one of which stops by itself
}
SAMPLING = {"groups": {"rounds": 2}, "preference-pairs": {"make": "samples"}, "labelled": {"make": "samples"}}
BOUND = [
    material.bind("source", name, **AIDED.get(name, {}), **hyper)
    for name in sorted(material.AXES["source"])
    for hyper in ({}, SAMPLING.get(name, {}))
    if not hyper or name in SAMPLING
]
EVERY = pytest.mark.parametrize("bound", [b for k, b in enumerate(BOUND) if b not in BOUND[:k]], ids=material.label)
CORRUPTIONS = pytest.mark.parametrize("bound", material.parts("corruption"), ids=material.label)


@cache
def policy() -> material.Engine:
    return material.engine(reference=1, weak=2, earlier=3)


def drawn(bound: Bound, seed: int = 5, n: int = 3, **changes) -> Batch:
    return bound(material.context(policy(), material.EXAMPLES[:n], seed, **changes))


@EVERY
def test_the_same_seed_draws_the_same_batch_and_sampling_follows_the_seed(bound: Bound) -> None:
    assert material.same(drawn(bound), drawn(bound))
    asks = bound.declared("asks") - {"policy"} or bound.part.name in UNASKED
    samples = "reward" in bound.part.gives or bound.hyper.get("make") == "samples" or bool(asks)
    assert torch.equal(drawn(bound).ids_N, drawn(bound, seed=6).ids_N) != samples


@EVERY
def test_an_item_depends_on_the_seed_and_its_place_alone(bound: Bound) -> None:
    few, many = drawn(bound, n=2), drawn(bound, n=3)
    first = [b.ids_N[b.broadcast(b.group_S) == 0] for b in (few, many)]
    assert len(first[0]) and torch.equal(*first)


@EVERY
def test_prompts_are_shown_and_never_trained(bound: Bound) -> None:
    batch = drawn(bound)
    assert bool(batch.train_N.any()) and torch.equal(batch.ids_N, batch.input_N)
    assert bool((batch.author_N[batch.train_N] != ENVIRONMENT).all())
    for s in range(batch.S if bound.part.name not in UNASKED else 0):
        example = material.EXAMPLES[int(batch.group_S[s])]
        prompt = policy().tokens.prompt(example.prompt)
        mine_N = batch.seq_N == s
        ids, train = batch.ids_N[mine_N].tolist(), batch.train_N[mine_N].tolist()
        end = train.index(True) if bound.part.name in RETOLD else len(prompt)
        assert ids[end - len(prompt) : end] == prompt and not any(train[:end])
        assert all(train[end:]) or bound.part.name in PARTLY


@EVERY
def test_it_gives_what_it_says(bound: Bound) -> None:
    batch, gives = drawn(bound), bound.part.gives
    assert (batch.reward_SK is not None) == ("reward" in gives)
    if "demonstration" in gives:
        assert bool((batch.author_N[batch.train_N] == DEMONSTRATION).any())
    if "label" in gives:
        assert set(batch.label_S.tolist()) == {1, 0, -1}
    if "pair" in gives:
        for g in batch.group_S.unique():
            assert sorted(batch.label_S[batch.group_S == g].tolist()) == [-1, 1]
    if not gives & {"pair", "label"}:
        assert bool((batch.label_S == NEITHER).all())


@EVERY
def test_answers_stay_within_the_budget_of_tokens(bound: Bound) -> None:
    if "reward" in bound.part.gives or bound.hyper.get("make") == "samples":
        assert int(drawn(bound, max_tokens=3).length_S.max()) <= 3


REWARDS = {
    "none": lambda k: 0.0,
    "all": lambda k: 1.0,
    "every other": lambda k: float(k % 2 == 0),
}


def sampled(bound: Bound, reward) -> int:
    """How many tokens it samples at most, where its k-th sample of a group earns reward(k)."""
    most, inner = [], material.context(policy())

    def sample(prompts, n, seed, limits=None, writer="policy"):
        most.append(n * sum([inner.max_tokens] * len(prompts) if limits is None else limits))
        return inner.sample(prompts, n, seed, limits, writer)

    judge = lambda examples, samples: [[[reward(k)] for k in range(len(g))] for g in samples]  # noqa: E731
    bound(replace(inner, sample=sample, reward=judge))
    return sum(most)


@EVERY
def test_it_samples_at_most_what_it_says_or_as_much_as_where_every_other_try_succeeds(bound: Bound) -> None:
    said = bound.part.samples(material.context(policy()), **bound.at(0.0)) if bound.part.samples else 0
    most = max(said, sampled(bound, REWARDS["every other"]))
    assert all(sampled(bound, reward) <= most for reward in REWARDS.values())


@EVERY
def test_an_example_without_what_it_reads_is_refused_with_the_alternative(bound: Bound) -> None:
    bare = [Example("a", id="bare"), Example("b", id="bare too")]
    samples = (
        bound.part.name
        in (
            "groups",
            "probed-groups",
            "replayed-groups",
            "buffered-groups",
            "accepted-samples",
            "answers",
        )
        or bound.part.name in ("feedback-samples", "revisions")
        or "make" in bound.hyper
    )
    if samples or bound.part.name in ("replay", *UNASKED):  # a text that stands alone can be replayed
        assert bound(material.context(policy(), bare)).S >= 0
    else:
        with pytest.raises(ValueError, match="'bare'.*(add a column|take)"):
            bound(material.context(policy(), bare))


def corrupted(bound: Bound, batch: Batch, seed: int = 3) -> Batch:
    """As the loop does it: what the corruption needs to know of the model is computed before."""
    needs = bound.declared("needs")
    handed = {"out": policy().score(batch, needs=needs)} if needs and batch.N else {}
    return bound(batch, mask_id=1, seed=seed, **handed)


def shown(batch: Batch) -> torch.Tensor:
    """[N, 3]: what the model is shown of each token, blended or not."""
    mixed = (batch.input_N, torch.zeros(batch.N)) if batch.mix_ids_N is None else (batch.mix_ids_N, batch.mix_N)
    return torch.stack([batch.input_N, *mixed], 1)


@CORRUPTIONS
def test_a_corruption_changes_only_what_is_shown_of_trained_tokens(bound: Bound) -> None:
    batch = material.batch()
    found = corrupted(bound, batch)
    assert material.same(replace(found, input_N=batch.input_N), batch)
    before, after = shown(batch), shown(found)
    assert torch.equal(after[~batch.train_N], before[~batch.train_N]) and not torch.equal(after, before)


@CORRUPTIONS
def test_a_corruption_follows_its_seed_or_what_it_needs_and_takes_an_empty_batch(bound: Bound) -> None:
    batch = material.batch()
    at = [shown(corrupted(bound, batch, seed)) for seed in (3, 3, 4)]
    assert torch.equal(at[0], at[1]) and torch.equal(at[0], at[2]) == bool(bound.declared("needs"))
    assert corrupted(bound, pack([])).N == 0
