"""Sources, gates and weights of the hybrids, beyond their batteries."""

from dataclasses import replace
from functools import cache

import pytest
import torch

import material
from scalpel.batch import DEMONSTRATION, POLICY, Batch, pack
from scalpel.credits.future_loss import discounted
from scalpel.credits.prefix_advantage import branch
from scalpel.data.example import Example
from scalpel.part import bind
from scalpel.sources.context import SourceContext
from scalpel.sources.prefix_groups import lengths, prefixes
from scalpel.worked_cases import case

TWO = Example("ab", " one", columns={"demonstrations": [" two", " one", " three"]}, id="two ways")


@cache
def policy() -> material.Engine:
    return material.engine()


def drawn(name: str, examples: list[Example], max_tokens: int = 12, **hyper) -> Batch:
    return bind("source", name, **hyper)(material.context(policy(), examples, max_tokens=max_tokens))


def given(batch: Batch) -> list[str]:
    """The demonstrated text of each sequence."""
    shown_N = batch.train_N & (batch.author_N == DEMONSTRATION)
    return [policy().tokens.text(batch.ids_N[(batch.seq_N == s) & shown_N].tolist()) for s in range(batch.S)]


def test_a_guided_group_has_samples_first_and_whole_demonstrations_last() -> None:
    batch = drawn("guided-groups", [TWO, material.EXAMPLES[1]], size=4, demonstrations=2)
    assert given(batch) == ["", "", " one", " two", "", "", " y"]  # the second prompt has one alone
    assert batch.group_S.tolist() == [0] * 4 + [1] * 3
    for s in (2, 3, 6):
        mine_N = (batch.seq_N == s) & batch.train_N
        assert int(batch.ids_N[mine_N][-1]) in policy().tokens.stop_ids
        assert bool((batch.author_N[mine_N] == DEMONSTRATION).all())


def test_demonstrations_are_judged_like_samples() -> None:
    seen: list[list[list[int]]] = []

    def reward(examples, samples):
        seen.extend([[s.ids for s in group] for group in samples])
        return [[[float(k)] for k in range(len(group))] for group in samples]

    batch = bind("source", "guided-groups", size=3)(material.context(policy(), [TWO], reward=reward))
    assert [len(group) for group in seen] == [3] and batch.reward_S.tolist() == [0.0, 1.0, 2.0]
    assert seen[0][2] == policy().tokens.completion(" one", "ab")


def test_without_demonstrations_guided_groups_are_groups_and_need_none() -> None:
    bare = [Example("a"), Example("b")]
    assert material.same(drawn("guided-groups", bare, demonstrations=0), drawn("groups", bare))


def test_a_demonstration_beyond_the_budget_is_cut_without_an_end() -> None:
    batch = drawn("guided-groups", [Example("a", " " + "x" * 50)], max_tokens=8, size=2)
    assert int(batch.length_S.max()) == 8
    assert not set(batch.ids_N[(batch.seq_N == 1) & batch.train_N].tolist()) & policy().tokens.stop_ids


def test_only_demonstrations_make_a_group_without_asking_the_policy() -> None:
    def silent(*asked, **more):
        raise AssertionError("the policy was asked")

    context = replace(material.context(policy(), [TWO]), sample=silent)
    assert given(bind("source", "guided-groups", size=3, demonstrations=3)(context)) == [" one", " two", " three"]


@pytest.mark.parametrize("source", ["guided-groups", "prefix-groups"])
def test_a_missing_demonstration_is_named_with_both_ways_out(source: str) -> None:
    examples = [material.EXAMPLES[0], Example("q", id="row 7")]
    with pytest.raises(ValueError, match="'row 7' has no completion: add a column .* or take source 'groups'"):
        drawn(source, examples)
    with pytest.raises(ValueError, match="no list of texts: give a list"):
        drawn(source, [Example("q", columns={"demonstrations": "one text"}, id="row 8")])


@pytest.mark.parametrize(("hyper", "words"), [({"demonstrations": 9}, "9 of 8"), ({"demonstrations": -1}, "-1 of 8")])
def test_more_demonstrations_than_answers_are_refused(hyper, words: str) -> None:
    with pytest.raises(ValueError, match=f"{words} answers can't be demonstrations: set 0 to 8"):
        drawn("guided-groups", [TWO], **hyper)
    with pytest.raises(ValueError, match="6 of 4 samples can't continue"):
        drawn("prefix-groups", [TWO], size=4, continuations=3, each=2)


def test_several_demonstrations_are_taken_in_turn_from_a_place_that_the_seed_chooses() -> None:
    def begun(seed: int) -> list[str]:
        context = material.context(policy(), [TWO], seed=seed, max_tokens=40)
        return [policy().tokens.text(p) for p in prefixes(context, 3, 1.0, 1.0)[0]]

    assert all(sorted(begun(seed)) == [" one", " three", " two"] for seed in range(6))
    assert len({begun(seed)[0] for seed in range(12)}) == 3


def test_each_prefix_is_gone_on_from_as_often_as_asked() -> None:
    batch = drawn("prefix-groups", [TWO], 40, size=6, continuations=2, each=2, low=0.8, high=0.8)
    texts = given(batch)
    assert texts[:2] == ["", ""] and texts[2] == texts[3] != texts[4] == texts[5] != ""
    branches = branch(batch).tolist()
    assert branches == [0, 0, 1, 1, 2, 2]


def test_a_share_of_the_prompts_has_prefixes_and_it_is_the_same_ones_every_epoch() -> None:
    many = [Example(f"{k}+", f" {k}00", id=str(k)) for k in range(60)]

    def begun(seed: int, share: float) -> list[bool]:
        context: SourceContext = material.context(policy(), many, seed=seed, max_tokens=20)
        return [any(ways) for ways in prefixes(context, 1, 0.9, 0.9, share=share)]

    assert begun(1, 0.3) == begun(2, 0.3) and 8 <= sum(begun(1, 0.3)) <= 28
    assert all(begun(1, 1.0)) and not any(begun(1, 0.0))
    bare = [Example("a"), Example("b")]
    batch = drawn("prefix-groups", bare, size=3, share=0.0)
    assert bool((batch.author_N[batch.train_N] == POLICY).all()) and batch.S == 6


def test_prefix_lengths_follow_the_beta_distribution_within_the_window() -> None:
    found = {ab: lengths(2000, 0.2, 0.7, *ab, seed=3) for ab in ((1.0, 1.0), (4.0, 1.0), (1.0, 4.0))}
    for (a, b), drawn_n in found.items():
        assert min(drawn_n) >= 0.2 and max(drawn_n) <= 0.7
        assert sum(drawn_n) / 2000 == pytest.approx(0.2 + 0.5 * a / (a + b), abs=0.01)


def test_the_share_of_prefix_tokens_may_follow_a_schedule() -> None:
    share = {"from": 1.0, "to": 0.25, "over": "linear"}
    bound = bind("credit", "top-entropy-prefix", share=share)
    out, batch = case([[-1.0] * 4], entropy=[[0.1, 0.9, 0.2, 0.3]])
    assert bound.part.statistic is not None
    for progress, kept in ((0.0, 4), (1 / 3, 3), (1.0, 1)):
        stat = bound.part.statistic(out, batch, **bound.at(progress))
        assert int(bound(out, batch, stat=stat, progress=progress)[batch.train_N].sum()) == kept


def group(authors: list[list[int]], rewards: list[float]) -> tuple:
    return case([[-1.0] * len(a) for a in authors], author=authors, reward=rewards, group=[0] * len(authors))


@pytest.mark.parametrize("name", ["pass-gate", "prefix-advantage"])
def test_a_group_without_a_sample_of_the_policy_s_own_is_refused_with_a_way_out(name: str) -> None:
    out, batch = group([[DEMONSTRATION], [DEMONSTRATION, POLICY]], [1.0, 0.0])
    with pytest.raises(
        ValueError, match=f"{name}.* a group has none( without demonstrated tokens: set the source|: set fewer)"
    ):
        bind("credit", name)(out, batch)


def test_advantages_of_a_prefix_add_up_to_how_much_better_it_is_than_none() -> None:
    d, p = DEMONSTRATION, POLICY
    out, batch = group([[p], [p], [d, p], [d, p], [d, p]], [0.0, 1.0, 1.0, 1.0, 0.0])
    credit_N = bind("credit", "prefix-advantage")(out, batch)
    shown_N = batch.train_N & (batch.author_N == d)
    assert float(credit_N[shown_N].sum()) == pytest.approx(2 / 3 - 1 / 2)
    assert float(credit_N[batch.train_N & ~shown_N].sum()) == pytest.approx(0.0, abs=1e-6)


def test_the_two_sides_of_a_gate_and_the_two_authors_add_up_to_one() -> None:
    batch = material.batch()
    out = material.out(material.numbers(batch, bind("credit", "constant")))
    for gates in (
        [bind("credit", "pass-gate", side=side, gate=0.3) for side in ("solved", "unsolved")],
        [bind("credit", "written-by", author=author) for author in ("policy", "demonstration")],
    ):
        assert bool((sum(gate(out, batch) for gate in gates)[batch.train_N] == 1).all())


@pytest.mark.parametrize("T", [1, 2, 3, 7, 16, 33])
def test_discounted_sums_are_those_of_the_definition(T: int) -> None:
    x_ST = torch.randn(2, T, generator=torch.Generator().manual_seed(T), dtype=torch.float64)
    expected = torch.stack([sum(0.9 ** (k - t) * x_ST[:, k] for k in range(t, T)) for t in range(T)], 1)
    torch.testing.assert_close(discounted(x_ST, 0.9), expected)


def test_propagated_losses_reach_early_tokens_through_the_weights() -> None:
    out, batch = case([[-1.0, -2.0, -0.5]])
    logp_N = out.logp_N.requires_grad_()
    for name, through in (("propagated-nll", True), ("nll", False)):
        credit_N = torch.ones_like(logp_N) if through else bind("credit", "future-loss")(out.detach(), batch)
        loss, _ = bind("objective", name)(replace(out, logp_N=logp_N), replace(batch, credit_N=credit_N))
        (slope_N,) = torch.autograd.grad(loss, logp_N)
        alike = torch.allclose(-slope_N[batch.train_N] / 3, credit_N[batch.train_N] / 3)
        assert alike != through


@pytest.mark.parametrize(("axis", "name"), [("objective", "propagated-nll"), ("credit", "future-loss")])
def test_later_losses_never_count_against_earlier_ones(axis: str, name: str) -> None:
    with pytest.raises(ValueError, match="gamma is -1.0, but it discounts the losses of later tokens: set 0 or more"):
        bind(axis, name, gamma=-1.0)(*case([[-1.0, -2.0]]))


def test_a_batch_that_trains_nothing_is_shown_as_it_is() -> None:
    assert bind("corruption", "guess-blend")(pack([]), mask_id=1, seed=0).mix_N is None
