"""What sources and credits of policy gradients do beyond the battery."""

from dataclasses import replace
from functools import cache

import pytest
import torch

import material
from formula_parity import stream_of
from scalpel.batch import Batch
from scalpel.data.example import Example
from scalpel.data.trajectory import completion
from scalpel.part import bind
from scalpel.seeding import others
from scalpel.sources.context import SourceContext
from scalpel.sources.groups import overlong_penalty

PROMPTS = [Example(name, id=name) for name in ("mixed 1", "wrong", "mixed 2", "right", "mixed 3")]


@cache
def policy() -> material.Engine:
    return material.engine()


def said(first: int, finished: bool = True, length: int = 3) -> tuple[SourceContext, list[list[str]]]:
    """A source context of the first prompts. Of a group every other sample is right, or all, or none, by the prompt's
    name; also the prompts that were sampled, call by call."""
    asked: list[list[str]] = []

    def sample(prompts, n, seed, limits=None, writer="policy"):
        asked.append([policy().tokens.text(ids) for ids in prompts])
        stop = "stop" if finished else "length"
        return [[completion(p, [7 + k] * length, [-1.0] * length, stop) for k in range(n)] for p in prompts]

    def reward(examples, samples):
        def right(example, k):
            return float(example.prompt == "right" or (example.prompt.startswith("mixed") and k % 2 == 0))

        return [[[right(e, k)] for k, _ in enumerate(group)] for e, group in zip(examples, samples, strict=True)]

    def more(at, n):
        return PROMPTS[first:][at : at + n]

    context = material.context(policy(), PROMPTS[:first], sample=sample, reward=reward, max_tokens=10)
    return replace(context, more=more), asked


def prompts(batch: Batch) -> list[str]:
    firsts = [batch.ids_N[(batch.seq_N == s) & ~batch.train_N].tolist() for s in range(batch.S)]
    return [policy().tokens.text(ids) for ids in firsts]


def test_groups_of_equal_rewards_make_room_for_other_prompts_until_there_are_enough() -> None:
    context, asked = said(2)
    batch = bind("source", "groups", size=2, rounds=3)(context)
    assert prompts(batch) == ["mixed 1"] * 2 + ["mixed 2"] * 2
    assert asked == [
        ["mixed 1", "wrong"],
        ["mixed 2", "right"],
    ]  # enough after one round: the third prompt is not asked
    assert batch.group_S.tolist() == [0, 0, 1, 1] and batch.reward_S.tolist() == [1.0, 0.0] * 2


def test_sampling_again_ends_after_the_rounds_or_with_the_prompts() -> None:
    context, asked = said(4)
    assert prompts(bind("source", "groups", size=2, rounds=9)(context)) == sorted(["mixed 1", "mixed 2", "mixed 3"] * 2)
    assert [len(call) for call in asked] == [4, 1]  # there is one prompt more, and after that none
    context, asked = said(2)
    assert bind("source", "groups", size=2, rounds=0)(context).S == 4 and len(asked) == 1


def test_where_no_group_is_informative_the_first_ones_stay_so_that_the_log_shows_them() -> None:
    context, _ = said(5)
    hopeless = replace(context, examples=[PROMPTS[1], PROMPTS[3]], more=lambda at, n: ())
    assert prompts(bind("source", "groups", size=2, rounds=2)(hopeless)) == ["wrong"] * 2 + ["right"] * 2


def test_others_are_the_rest_in_a_seeded_order_and_end() -> None:
    items = [Example(str(i)) for i in range(10)]
    found = [e for at in (0, 3, 6) for e in others(items, range(3), 5, at, 3)]
    assert sorted(e.prompt for e in found) == sorted(e.prompt for e in items[3:]) and found != items[3:]
    assert found == others(items, range(3), 5, 0, 99) != others(items, range(3), 6, 0, 99)


def test_the_penalty_on_length_falls_to_minus_one_over_the_last_share_and_is_a_reward_of_its_own() -> None:
    found = [overlong_penalty(completion((), [0] * n), 10, 0.4) for n in (1, 6, 7, 8, 10)]
    assert found == pytest.approx([0, 0, -0.25, -0.5, -1])
    batch = bind("source", "groups", size=2, overlong=0.4)(said(1, length=8)[0])
    assert batch.reward_SK is not None
    torch.testing.assert_close(batch.reward_SK, torch.tensor([[1.0, -0.5], [0.0, -0.5]]))


def test_the_penalty_on_length_does_not_make_a_group_informative() -> None:
    context, _ = said(5)
    uneven = replace(
        context,
        examples=[PROMPTS[3]],
        sample=lambda prompts, n, seed: [[completion(prompts[0], [7] * (5 + 5 * k)) for k in range(n)]],
        more=lambda at, n: [],
    )
    batch = bind("source", "groups", size=2, rounds=1, overlong=0.5)(uneven)
    assert batch.reward_S.tolist() == [1.0, 1.0]  # all that there was: right both, so lengths are not learnt either
    assert bind("source", "groups", size=2, overlong=0.5)(uneven).reward_S.tolist() == [1.0, 0.0]


def test_what_was_cut_off_is_not_trained_where_that_is_asked_but_counts_in_its_group() -> None:
    cut = said(1, finished=False)[0]
    assert not bind("source", "groups", size=2, train_cut=False)(cut).train_N.any()
    kept = bind("source", "groups", size=2)(cut)
    assert kept.train_N.any() and kept.reward_S.tolist() == [1.0, 0.0]
    whole = said(1)[0]
    assert material.same(
        bind("source", "groups", size=2, train_cut=False)(whole), bind("source", "groups", size=2)(whole)
    )


@pytest.mark.parametrize("hyper", [{"overlong": 1.5}, {"overlong": -0.1}, {"rounds": -1}, {"size": 0}])
def test_groups_that_cannot_be_are_refused(hyper: dict) -> None:
    with pytest.raises(ValueError, match="set size to 1 or more"):
        bind("source", "groups", **hyper)(said(1)[0])


def test_sampling_again_for_single_samples_is_refused_since_none_of_them_could_stay() -> None:
    with pytest.raises(ValueError, match="rounds 2 and size 1: .* set size to 2 or more, or rounds to 0"):
        bind("source", "groups", size=1, rounds=2)(said(1)[0])


@pytest.mark.parametrize(
    ("axis", "name", "hyper", "words"),
    [
        ("credit", "group-zscore", {"delta": 0.0}, "0 / 0.* take credit 'group-mean'"),
        ("credit", "importance", {"low": 3.0}, "low is 3.0 and high is 2.0"),
        ("credit", "gae", {"lam": 1.5}, "lam is 1.5, but both are discount factors"),
        ("objective", "value", {"gamma": -0.1}, "gamma is -0.1 .* both are discount factors"),
        ("objective", "clipped-pg", {"dual": 0.5}, "no token with a negative advantage would get a gradient"),
    ],
)
def test_numbers_that_would_teach_nonsense_are_refused(axis: str, name: str, hyper: dict, words: str) -> None:
    batch, bound = material.batch(), bind(axis, name, **hyper)
    with pytest.raises(ValueError, match=words):
        material.call(bound, material.numbers(batch, bound), batch)


@pytest.mark.parametrize("memory", [1.0, -0.1])
def test_a_baseline_that_takes_nothing_up_is_refused_when_it_is_bound(memory: float) -> None:
    with pytest.raises(ValueError, match="below 1, .* take credit 'reward'"):
        bind("credit", "moving-baseline", memory=memory)


@pytest.mark.parametrize("hyper", [{"documents": 0}, {"max_tokens": 0}, {"focus": 1.5}])
def test_own_text_that_there_is_none_of_is_refused_when_the_source_is_bound(hyper: dict) -> None:
    with pytest.raises(ValueError, match="give 1 or more documents and tokens, and a focus in 0 … 1"):
        bind("source", "self-written", **hyper)


def test_leave_one_out_is_the_group_s_mean_but_for_its_own_share() -> None:
    batch = material.batch()
    x = material.numbers(batch, bind("credit", "leave-one-out"))
    alone, mean = (material.call(bind("credit", name), x, batch) for name in ("leave-one-out", "group-mean"))
    torch.testing.assert_close(alone, 1.5 * mean)  # three to a group: k/(k−1)


@pytest.mark.parametrize("name", ["group-zscore", "group-mean", "leave-one-out"])
def test_a_group_of_one_is_refused_with_credits_that_need_no_group(name: str) -> None:
    batch = material.batch().pick(torch.tensor([0, 3, 4]))
    with pytest.raises(ValueError, match="set size to 2 or more in the source, or take credit 'reward' or 'moving"):
        bind("credit", name)(material.out(material.numbers(batch, bind("credit", name))), batch)


def test_the_moving_baseline_is_the_average_of_the_steps_so_far_as_the_weights_fall() -> None:
    credit, batch = bind("credit", "moving-baseline", memory=0.5), material.batch()
    out = material.out(material.numbers(batch, credit))

    def baseline() -> float:
        return float((batch.broadcast(batch.reward_S) - credit(out, batch))[0])

    assert baseline() == 0.0
    credit.follow({"reward": 0.8}, batch, 0.0)
    assert baseline() == pytest.approx(0.8)  # of the first step, in full
    credit.follow({"reward": 0.2}, batch, 0.0)
    assert baseline() == pytest.approx((0.25 * 0.8 + 0.5 * 0.2) / 0.75)
    credit.follow({}, batch, 0.0)  # a step without rewards
    assert baseline() == pytest.approx((0.25 * 0.8 + 0.5 * 0.2) / 0.75)
    assert bind("credit", "moving-baseline").memory.state == {"reward": 0.0, "weight": 0.0}  # each has its own


def test_a_token_s_own_gradient_is_told_apart_only_where_credits_differ() -> None:
    batch = material.batch()

    def slopes(credit_N: torch.Tensor, per_token: bool) -> torch.Tensor:
        x = material.numbers(batch, bind("objective", "clipped-sequence-pg"))
        bound = bind("objective", "clipped-sequence-pg", per_token=per_token, epsilon=9.0, epsilon_high=9.0)
        loss, _ = material.call(bound, x, replace(batch, credit_N=credit_N))
        return torch.autograd.grad(loss, x["logp"])[0]

    same_N = torch.where(batch.train_N, batch.broadcast(batch.reward_S), 0.0)
    torch.testing.assert_close(slopes(same_N, True), slopes(same_N, False))
    assert batch.credit_N is not None
    assert not torch.allclose(slopes(batch.credit_N, True), slopes(batch.credit_N, False))


def test_an_adaptive_divergence_without_a_target_is_refused_with_the_alternative() -> None:
    with pytest.raises(ValueError, match="target 0.0: set the KL divergence .* take anchor 'kl'"):
        bind("anchor", "adaptive-kl", target=0.0)


def test_the_forward_estimate_is_unbiased_where_the_reference_wrote() -> None:
    from scalpel.anchors.kl import divergence
    from scalpel.worked_cases import case

    logits, other = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p, q = logits.log_softmax(0).requires_grad_(), other.log_softmax(0)
    out, batch = case([[0.0] * 5], reference=[q.tolist()])
    seen = replace(out, logp_N=torch.cat([torch.zeros(1, dtype=torch.float64), p]))
    mean = (q.exp() * divergence(seen, batch, "k3-forward")[1:]).sum()  # every token, as often as q writes it
    exact = (q.exp() * (q - p)).sum()
    assert float(mean.detach()) == pytest.approx(float(exact.detach()))
    free = logits.clone().requires_grad_()
    trainables = replace(out, logp_N=torch.cat([torch.zeros(1, dtype=torch.float64), free.log_softmax(0)]))
    found = torch.autograd.grad((q.exp() * divergence(trainables, batch, "k3-forward")[1:]).sum(), free)[0]
    torch.testing.assert_close(found, logits.softmax(0) - q.exp())  # of KL(π_ref ‖ π)


def test_a_constant_length_is_the_longest_answer_of_the_stage_unless_it_is_given() -> None:
    def length(**objective: int) -> object:
        learnt = {"name": "clipped-pg", "average": "constant", **objective}
        signal = {"source": "groups", "credit": ["group-mean"], "objective": learnt}
        (one,) = stream_of(signals=[signal], sampling={"max_tokens": 24}).signals
        assert one.objective is not None
        return one.objective.hyper["length"]

    assert length() == 24
    assert length(length=10) == 10
    with pytest.raises(ValueError, match="give `length`"):
        bind("objective", "clipped-pg", average="constant").count(material.batch(), 0.0)
