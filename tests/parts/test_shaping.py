"""What the parts that shape the teaching of own samples do beyond the battery."""

from dataclasses import replace
from functools import cache

import pytest
import torch

import material
from scalpel.batch import ENVIRONMENT, POLICY, Batch, Row, pack
from scalpel.data.trajectory import completion
from scalpel.engine.embeddings import embed
from scalpel.part import Out, bind
from scalpel.sources.context import SourceContext
from scalpel.sources.end_to_end import end_to_end
from scalpel.sources.probing import ends
from scalpel.sources.replayed_groups import KEPT
from scalpel.training.mini_batches import mini_batch


@cache
def policy() -> material.Engine:
    return material.engine()


def after(bound, batch: Batch) -> None:
    bound.follow({}, batch, 0.0)


def test_batches_come_back_oldest_first_once_enough_are_kept() -> None:
    source = bind("source", "replayed-groups", size=2, capacity=2, chance=1.0)
    fresh = []
    for seed in (1, 2):
        fresh.append(source(material.context(policy(), seed=seed)))
        after(source, fresh[-1])
        after(source, fresh[-1])
    again = source(material.context(policy(), seed=3))
    assert torch.equal(again.ids_N, fresh[0].ids_N) and torch.equal(again.reward_S, fresh[0].reward_S)
    assert all(row["replayed"] for row in again.columns)
    after(source, again)
    after(source, again)  # a second step on the same batch
    third = source(material.context(policy(), seed=4))  # one is kept now, so this one is sampled
    assert not any(row.get("replayed") for row in third.columns)
    after(source, third)
    assert torch.equal(source(material.context(policy(), seed=5)).ids_N, fresh[1].ids_N)


@pytest.mark.parametrize("hyper", [{"capacity": 0}, {"chance": 0.0, "capacity": 1}])
def test_without_room_or_chance_replayed_groups_are_groups(hyper) -> None:
    source = bind("source", "replayed-groups", size=3, **hyper)
    for seed in (1, 2, 3):
        batch = source(material.context(policy(), seed=seed))
        assert material.same(batch, bind("source", "groups", size=3)(material.context(policy(), seed=seed)))
        after(source, batch)


def test_what_was_left_out_before_is_what_counts_when_a_batch_comes_back() -> None:
    source = bind("source", "replayed-groups", size=6, capacity=1, chance=1.0)
    unequal = lambda prompts, n, seed: [[completion(p, [9] * (1 + k)) for k in range(n)] for p in prompts]  # noqa: E731
    fresh = source(material.context(policy(), seed=1, sample=unequal))
    after(source, fresh)
    again = source(material.context(policy(), seed=2))
    credit = bind("credit", "recompose")
    now, then = (credit(Out(torch.zeros(b.N)), b) for b in (again, fresh))
    assert torch.equal(now + then, torch.ones(fresh.N)) and 0 < float(then.mean()) < 1


def marks(batch: Batch) -> list[tuple[bool, int]]:
    return list(dict.fromkeys((row["replayed"], row["drawn"]) for row in batch.columns))


def test_new_groups_are_kept_once_and_come_back_whole_behind_the_new_ones_of_later_batches() -> None:
    source = bind("source", "buffered-groups", size=2, replays=2, capacity=4)
    first = source(material.context(policy(), seed=1))
    assert [again for again, _ in marks(first)] == [False] * 3  # nothing is kept yet
    for k in range(2):  # two epochs of three mini-batches
        for m in range(3):
            after(source, mini_batch(first, 3 * k + m, 3))
    kept = source.memory.state["kept"]
    assert [group["drawn"] for group in kept] == [number for _, number in marks(first)]
    second = source(material.context(policy(), seed=2))
    assert [again for again, _ in marks(second)] == [False] * 3 + [True] * 3  # there are no more than three
    assert {n for again, n in marks(second) if again} == {n for _, n in marks(first)}
    assert second.S == 12 and second.dense_group_S().tolist() == [g for g in range(6) for _ in range(2)]
    for g, (_, number) in list(enumerate(marks(second)))[3:]:
        one = second.pick((second.group_S == g).nonzero()[:, 0])
        (was,) = (group for group in kept if group["drawn"] == number)
        assert torch.equal(one.ids_N, was["ids_N"]) and torch.equal(one.reward_SK, was["reward_SK"])
        assert torch.equal(one.behaviour_N, was["behaviour_N"]) and torch.equal(one.train_N, was["train_N"])
    after(source, second)
    assert len(source.memory.state["kept"]) == 4  # the oldest are gone, and what came back isn't kept again
    third = source(material.context(policy(), seed=3))
    assert len(marks(third)) == 3 + 4


def test_episodes_of_several_sequences_stay_together_when_they_come_back_beside_single_ones() -> None:
    def row(group: int, continues: bool = False) -> Row:
        return Row([5, 6], [False, True], [ENVIRONMENT, POLICY], group=group, rewards=[0.0], continues=continues)

    split, single = pack([row(0), row(0, True), row(1)]), pack([row(0), row(1)])
    tables = [{k: x for k in KEPT if (x := getattr(batch, k)) is not None} for batch in (single, split)]
    whole = Batch(**end_to_end(tables))
    assert whole.group_S.tolist() == [0, 1, 2, 2, 3] and whole.seq_N.unique().tolist() == [0, 1, 2, 3, 4]
    assert whole.episodes()[1].tolist() == [0, 1, 2, 2, 3]
    assert "episode_S" not in end_to_end(tables[:1])


@pytest.mark.parametrize("hyper", [{"capacity": 0}, {"replays": 0}])
def test_without_replays_or_room_buffered_groups_are_groups(hyper) -> None:
    source = bind("source", "buffered-groups", size=3, **hyper)
    for seed in (1, 2):
        batch = source(material.context(policy(), seed=seed))
        plain = bind("source", "groups", size=3)(material.context(policy(), seed=seed))
        assert material.same(replace(batch, columns=plain.columns), plain)
        after(source, batch)
    with pytest.raises(ValueError, match="replays -1.* 0 or more"):
        bind("source", "buffered-groups", replays=-1)


def test_an_episode_ends_where_the_cut_ends_and_of_many_a_few_are_taken_evenly() -> None:
    tokens = policy().tokens
    ids = tokens.completion("a--bc--d--e--f", "")
    assert ends(tokens, ids, "--", 9) == [3, 7, 10, 13]
    assert ends(tokens, ids, "--", 3) == [3, 10] or ends(tokens, ids, "--", 3) == [7, 10]
    assert ends(tokens, ids, "--", 1) == [] == ends(tokens, ids, r"\?", 4)
    assert ends(tokens, ids, "[bd]-+", 9) == [10]  # an expression, as for steps
    assert ends(tokens, tokens.completion("ab--", "")[:-1], "--", 4) == []  # nothing comes after it
    with pytest.raises(ValueError, match=r"cut: '\(' is no regular expression"):
        ends(tokens, ids, "(", 4)


def test_progress_adds_up_to_the_reward_less_that_of_stopping_at_once() -> None:
    source = bind("source", "probed-groups", size=3, cut="e", force="#", provers=2, room=2)
    context = material.context(policy(), max_tokens=40, seed=3)
    batch = source(context)
    assert batch.reward_N is not None and int(batch.turn_N.max()) > 0
    gained_S = batch.sum_S(batch.reward_N) - batch.reward_S
    for g in range(3):  # the same start in every sample of a group
        assert len(gained_S[batch.group_S == g].unique()) == 1 and -1 <= float(gained_S[batch.group_S == g][0]) <= 0


def test_forced_answers_are_scored_as_trials_and_the_samples_as_rewards() -> None:
    calls: list[tuple[str, int]] = []

    def told(kind: str):
        def reward(examples, samples):
            calls.append((kind, sum(map(len, samples))))
            return [[[1.0] for _ in group] for group in samples]

        return reward

    context = material.context(policy(), reward=told("reward"), on_trial=told("trial"))
    bind("source", "probed-groups", size=2, provers=3)(context)
    assert calls == [("trial", 3 * 3), ("reward", 3 * 2)]


def test_a_probe_without_answers_or_episodes_is_refused() -> None:
    for key in ("size", "provers", "episodes", "room"):
        with pytest.raises(ValueError, match=f"{key} 0.* 1 or more"):
            bind("source", "probed-groups", **{key: 0})(material.context(policy()))


@pytest.mark.parametrize("hyper", [{"capacity": -1}, {"chance": 1.5}, {"size": 0}])
def test_batches_that_cannot_come_back_are_refused_when_the_source_is_bound(hyper) -> None:
    with pytest.raises(ValueError, match="a capacity of 0 or more batches, and a chance in 0 … 1"):
        bind("source", "replayed-groups", **hyper)


def choosing(good: list[int]) -> SourceContext:
    """A source context in which of each prompt's samples so many are right."""
    sample = lambda prompts, n, seed, limits=None: [[completion(p, [9, 3])] * n for p in prompts]  # noqa: E731
    reward = lambda examples, samples: [  # noqa: E731
        [[float(k < right)] for k in range(len(group))] for right, group in zip(good, samples, strict=True)
    ]
    return material.context(policy(), sample=sample, reward=reward)


def test_prompts_are_kept_by_how_many_of_their_samples_are_right() -> None:
    chosen = bind("selection", "learnable", size=4)
    assert chosen(choosing([0, 1, 4])) == [False, True, True]
    assert bind("selection", "learnable", size=4, most=3)(choosing([0, 1, 4])) == [False, True, False]
    assert bind("selection", "learnable", size=4, least=2)(choosing([0, 1, 4])) == [False, False, True]
    assert bind("selection", "learnable", size=4, least=0)(choosing([0, 1, 4])) == [True] * 3
    with pytest.raises(ValueError, match="least is 5 .* set .*0 ≤ least ≤ most ≤ size"):
        bind("selection", "learnable", size=4, least=5)(choosing([0, 1, 4]))


def test_a_floor_of_nothing_is_refused_since_it_has_no_logarithm() -> None:
    batch = material.batch()
    for name in ("tb", "subtb", "db"):
        bound = bind("objective", name, floor=0.0)
        with pytest.raises(ValueError, match="set it above 0"):
            material.call(bound, material.numbers(batch, bound), batch)


def test_log_z_of_a_single_sample_is_refused_with_the_head() -> None:
    batch, bound = material.batch().pick(torch.tensor([0, 3, 4])), bind("objective", "tb", partition="group")
    with pytest.raises(ValueError, match="a group has one sample.* or partition = 'head'"):
        material.call(bound, material.numbers(batch, bound), batch)


def test_stretches_of_less_than_no_weight_are_refused() -> None:
    batch, bound = material.batch(), bind("objective", "subtb", decay=-0.5)
    with pytest.raises(ValueError, match="decay is -0.5"):
        material.call(bound, material.numbers(batch, bound), batch)


def test_only_a_prior_reads_the_reference_and_only_a_head_asks_for_one() -> None:
    assert bind("objective", "tb", prior=0.0).declared("reads") == {"reward"}
    assert bind("objective", "db").declared("reads") == {"reward", "reference"}
    assert {"logp"} == bind("objective", "tb", partition="group").declared("needs")


def test_the_vector_of_a_text_is_the_mean_of_its_hidden_states_and_does_not_depend_on_its_neighbours() -> None:
    engine = policy()
    texts = [engine.tokens.prompt(t) for t in ("abc", "a much longer text", "x")]
    found = embed(engine, texts)
    for ids, x_D in zip(texts, found, strict=True):
        mean_D = engine.model.base_model(torch.tensor([ids])).last_hidden_state[0].mean(0)
        torch.testing.assert_close(x_D, torch.nn.functional.normalize(mean_D, dim=0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(embed(engine, [ids])[0], x_D, rtol=1e-4, atol=1e-5)
    assert embed(engine, []).shape == (0, 16)
