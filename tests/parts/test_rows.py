"""What single sources do beyond the battery."""

from dataclasses import replace
from functools import cache, partial

import pytest
import torch

import material
from scalpel.batch import DEMONSTRATION, MEAN_EMBEDDING, POLICY, Batch
from scalpel.data.example import Example
from scalpel.data.trajectory import completion, continued
from scalpel.part import bind
from scalpel.sources.context import SourceContext
from scalpel.sources.prefix_groups import prefixes


@cache
def policy() -> material.Engine:
    return material.engine()


def said(*texts: str, finished: bool = True, **changes) -> SourceContext:
    """A source context whose policy says these texts, one a sample, to every prompt; right is what begins with "y"."""
    tokens = policy().tokens

    def sample(prompts, n, seed):
        spoken = [tokens.completion(text, "") for text in texts[:n]]
        stop = "stop" if finished else "length"
        return [[completion(p, ids, [-1.0] * len(ids), stop) for ids in spoken] for p in prompts]

    def reward(examples, samples):
        return [[[float(tokens.text(s.ids).startswith("y"))] for s in group] for group in samples]

    given = dict(sample=sample, reward=reward, examples=material.EXAMPLES[:2])
    return material.context(policy(), **{**given, **changes})


def texts(batch: Batch) -> list[str]:
    return [policy().tokens.text(batch.ids_N[(batch.seq_N == s) & batch.train_N].tolist()) for s in range(batch.S)]


def test_accepted_samples_are_right_distinct_finished_and_capped() -> None:
    accepted = bind("source", "accepted-samples", size=5, keep=2)
    assert texts(accepted(said("no", "y", "y", "yy", "yyy"))) == ["y", "yy"] * 2
    repeated = bind("source", "accepted-samples", size=3, dedupe=False)
    assert texts(repeated(said("y", "y", "no"))) == ["y", "y"] * 2
    assert accepted(said("y", "y", "y", "y", "y", finished=False)).S == 0
    nothing = accepted(said("a", "b", "c", "d", "e"))
    assert nothing.S == 0 and nothing.N == 0 and not nothing.train_N.any()


def test_pairs_from_samples_put_a_right_one_against_a_wrong_one_and_skip_prompts_without_both() -> None:
    pairs = bind("source", "preference-pairs", make="samples", size=3)
    batch = pairs(said("no", "y", "yes"))
    assert texts(batch) == ["y", "no"] * 2 and batch.label_S.tolist() == [1, -1] * 2
    assert bool((batch.author_N[batch.train_N] == POLICY).all())
    assert pairs(said("y", "yy", "yyy")).S == 0 and pairs(said("a", "b", "c")).S == 0


def test_pairs_take_the_data_s_own_where_there_are_any_and_refuse_data_with_holes() -> None:
    given = bind("source", "preference-pairs")(said("y", "no"))
    assert texts(given) == [" cd", " ef", " y", " why"]
    holed = [material.EXAMPLES[0], Example("q", id="holed")]
    with pytest.raises(ValueError, match="'holed' lacks 'chosen' or 'rejected': .*make = \"samples\""):
        bind("source", "preference-pairs")(said("y", "no", examples=holed))
    bare = [Example("p"), Example("q")]
    assert texts(bind("source", "preference-pairs", size=2)(said("y", "no", examples=bare))) == ["y", "no"] * 2


def test_a_mismatched_answer_is_that_of_the_next_prompt_and_the_last_takes_the_first() -> None:
    batch = bind("source", "labelled")(material.context(policy()))
    assert texts(batch) == [" cdef", " y", " y", " 34567890", " 34567890", " cdef"]
    assert batch.label_S.tolist() == [1, 0, -1, 0, 1, 0]


def test_labels_from_samples_follow_the_reward() -> None:
    batch = bind("source", "labelled", make="samples", size=2)(said("y", "no"))
    assert texts(batch)[::2] == ["y", "no"] * 2 and batch.label_S.tolist() == [1, 0, -1, 0] * 2


def test_one_prompt_alone_has_no_mismatched_answer() -> None:
    with pytest.raises(ValueError, match="set batch to 2 or more"):
        bind("source", "labelled")(said("y", examples=material.EXAMPLES[:1]))


def test_a_continued_sample_begins_with_the_demonstration_and_is_marked_so() -> None:
    context = material.context(policy(), max_tokens=8)
    batch = bind("source", "prefix-groups", size=4, continuations=2, low=0.6, high=0.6)(context)
    assert batch.S == 12 and torch.bincount(batch.group_S).tolist() == [4, 4, 4]
    for g, example in enumerate(context.examples):
        y = policy().tokens.completion(example.completion or "", example.prompt)
        L = min(int(0.6 * len(y)), 7)
        for k, s in enumerate((batch.group_S == g).nonzero()[:, 0].tolist()):
            mine_N = (batch.seq_N == s) & batch.train_N
            authors = batch.author_N[mine_N].tolist()
            shown = L if k >= 2 else 0
            assert authors == [DEMONSTRATION] * shown + [POLICY] * (len(authors) - shown)
            assert batch.ids_N[mine_N].tolist()[:shown] == y[:shown]
            assert batch.behaviour_N is not None and not batch.behaviour_N[mine_N][:shown].any()


def test_without_continuations_prefix_groups_are_groups() -> None:
    context = material.context(policy())
    assert material.same(bind("source", "prefix-groups", continuations=0)(context), bind("source", "groups")(context))


def test_prefix_shares_lie_in_the_window_and_follow_the_seed() -> None:
    long = [Example("p", " " + "x" * 99)] * 50
    context = material.context(policy(), long, max_tokens=500)
    lengths = [len(p) / 101 for ways in prefixes(context, 2, 0.2, 0.7) for p in ways]
    assert 0.19 < min(lengths) < 0.25 and 0.65 < max(lengths) <= 0.7 and len(set(lengths)) > 20
    again = [len(p) / 101 for ways in prefixes(context, 2, 0.2, 0.7) for p in ways]
    other = material.context(policy(), long, seed=6, max_tokens=500)
    assert lengths == again != [len(p) / 101 for ways in prefixes(other, 2, 0.2, 0.7) for p in ways]


def test_the_window_of_prefixes_opens_along_the_run() -> None:
    source, long = bind("source", "prefix-groups", size=1), [Example("p", " " + "x" * 99)] * 20

    def shown(progress: float) -> list[int]:
        batch = source(material.context(policy(), long, max_tokens=101, progress=progress), progress=progress)
        return batch.sum_S((batch.author_N == DEMONSTRATION).float()).int().tolist()

    assert min(shown(0.0)) == max(shown(0.0)) == int(0.95 * 101)
    assert min(shown(1.0)) < 30


def test_a_continuation_is_the_beginning_and_what_the_policy_added() -> None:
    whole = continued([8, 9], completion([1, 8, 9], [4, 5, 3], [-1.0, -2.0, -3.0]))
    assert whole.prompt_ids == (1,) and whole.ids == whole.answer_ids == [8, 9, 4, 5, 3] and whole.finished
    assert whole.behaviour == [0.0, 0.0, -1.0, -2.0, -3.0] and whole.policy_ids == [4, 5, 3]


def test_a_continuation_is_sampled_within_the_budget_of_a_whole_answer() -> None:
    long, asked = [Example("p", " " + "x" * 99)] * 5, []
    context = material.context(policy(), long, max_tokens=101)

    def sample(prompts, n, seed, limits=None):
        asked.extend(zip(prompts, limits, strict=True))
        return context.sample(prompts, n, seed, limits)

    batch = bind("source", "prefix-groups", size=1)(replace(context, sample=sample))
    start = len(context.tokens.prompt("p"))
    assert len(asked) == 5 and all(len(prompt) - start + limit == 101 for prompt, limit in asked)
    assert max(batch.sum_S(batch.train_N.float()).int().tolist()) <= 101


def test_more_continuations_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="3 of 2 samples"):
        bind("source", "prefix-groups", size=2, continuations=3)(material.context(policy()))


def test_replay_trains_answers_where_there_are_any_and_else_the_whole_text() -> None:
    conversation = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"})
    old = [
        Example("a", " b"),
        Example(messages=conversation),
        Example("a text that stands alone"),
        Example(columns={"text": "another"}),
    ]
    batch = bind("source", "replay")(material.context(policy(), old))
    assert texts(batch) == [" b", "ho", "a text that stands alone", "another"]
    stops = [int(batch.ids_N[batch.seq_N == s][-1]) in policy().tokens.stop_ids for s in range(4)]
    assert all(stops)
    with pytest.raises(ValueError, match="'empty' has neither completion, messages nor text"):
        bind("source", "replay")(material.context(policy(), [Example(id="empty")]))


def test_rows_that_do_not_fit_are_left_out_pairs_whole() -> None:
    short = lambda rendered, example: rendered if len(rendered) <= 5 else None  # noqa: E731
    context = material.context(policy(), fit=short)
    assert texts(bind("source", "demonstrations")(context)) == [" y"]
    assert texts(bind("source", "preference-pairs", make="given")(context)) == []
    assert texts(bind("source", "labelled", make="given")(context)) == [" y"]


def test_masking_hides_the_share_it_says() -> None:
    batch = bind("source", "demonstrations")(material.context(policy(), [Example("p", " " + "x" * 2000)]))
    shown = bind("corruption", "masked-thought", rate=0.4)(batch, mask_id=6, seed=1)
    assert 0.36 < float((shown.input_N == 6)[batch.train_N].float().mean()) < 0.44
    none = bind("corruption", "masked-thought", rate=0.0)(batch, mask_id=6, seed=1)
    every = bind("corruption", "masked-thought", rate=1.0)(batch, mask_id=6, seed=1)
    assert torch.equal(none.input_N, batch.ids_N) and bool((every.input_N == 6)[batch.train_N].all())


def test_without_a_mask_token_the_mean_embedding_stands_for_one_and_says_nothing_of_what_it_hides() -> None:
    engine = policy()
    batch = bind("source", "demonstrations")(material.context(engine))
    masked = partial(bind("corruption", "masked-thought", rate=0.5), mask_id=None, seed=1)
    shown, hidden_N = masked(batch), masked(batch).mix_ids_N == MEAN_EMBEDDING
    assert 0 < int(hidden_N.sum()) < int(batch.train_N.sum()) and not bool((hidden_N & ~batch.train_N).any())
    assert torch.equal(shown.ids_N, batch.ids_N) and torch.equal(shown.input_N[~hidden_N], batch.input_N[~hidden_N])
    assert not engine.tokens.stop_ids & set(shown.input_N[hidden_N].tolist())
    other = masked(replace(batch, input_N=torch.where(hidden_N, 9, batch.input_N)))  # hides other tokens
    assert torch.equal(engine.score(shown).logp_N, engine.score(other).logp_N)
    embed = engine.model.get_input_embeddings()
    for s in range(batch.S):
        mine_N = batch.seq_N == s
        e_TD = torch.where(hidden_N[mine_N, None], embed.weight.mean(0), embed(batch.ids_N[mine_N]))
        z_TV = engine.model(inputs_embeds=e_TD[None], use_cache=False).logits[0].log_softmax(-1)
        logp = z_TV[:-1].gather(1, batch.ids_N[mine_N][1:, None])[:, 0]
        asked = batch.train_N[mine_N][1:]
        torch.testing.assert_close(engine.score(shown).logp_N[mine_N][1:][asked], logp[asked], rtol=1e-4, atol=1e-4)


def test_masks_and_blended_guesses_stand_side_by_side() -> None:
    engine = policy()
    batch = bind("source", "demonstrations")(material.context(engine))
    mask, blend = bind("corruption", "masked-thought", rate=0.5), bind("corruption", "guess-blend")
    masked = mask(batch, mask_id=None, seed=1)
    both = blend(masked, mask_id=None, seed=1, out=engine.score(masked, needs={"argmax"}))
    hidden_N = masked.mix_N > 0
    assert torch.equal(both.mix_ids_N[hidden_N], masked.mix_ids_N[hidden_N]) and bool((both.mix_N[hidden_N] == 1).all())
    rest_N = batch.train_N & ~hidden_N
    assert bool((both.mix_N[rest_N] == 0.2).all()) and bool((both.mix_ids_N[rest_N] >= 0).all())


@pytest.mark.parametrize(
    ("name", "hyper", "words"),
    [
        ("accepted-samples", {"size": 0}, "size of source 'accepted-samples' is 0: set 1 or more"),
        ("accepted-samples", {"keep": 0}, "keep of .* is 0: set 1 or more"),
        ("feedback-samples", {"size": 0}, "size of .* is 0: set 1 or more"),
        ("beneficial-steps", {"states": -1}, "states of .* is -1: set 0 or more"),
        ("beneficial-steps", {"size": 0}, "size of .* is 0: set 1 or more"),
        ("interventions", {"size": 0}, "size of .* is 0: set 1 or more"),
        ("interventions", {"proposals": 0}, "proposals of .* is 0: set 1 or more"),
        ("interventions", {"tries": -1}, "tries of .* is -1: set 0 or more"),
        ("guided-groups", {"size": 0, "demonstrations": 0}, "size of .* is 0: set 1 or more"),
        ("prefix-groups", {"size": 0, "continuations": 0}, "size of .* is 0: set 1 or more"),
        ("prefix-groups", {"continuations": -1, "each": -1}, "each of .* is -1: set 1 or more"),
        ("prefix-groups", {"low": -0.1}, "low of .* is -0.1: set 0 to 1"),
        ("prefix-groups", {"high": 1.5}, "high of .* is 1.5: set 0 to 1"),
        ("prefix-groups", {"share": 2.0}, "share of .* is 2.0: set 0 to 1"),
        ("prefix-groups", {"beta": 0.0}, "beta of .* is 0.0: set 0.01 or more"),
        ("preference-pairs", {"make": "samples", "size": 1}, "size of .* is 1: set 2 or more"),
        ("labelled", {"make": "samples", "size": 0}, "size of .* is 0: set 1 or more"),
    ],
)
def test_numbers_that_can_not_be_are_refused(name: str, hyper: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bind("source", name, **hyper)(material.context(policy()))


@pytest.mark.parametrize("name", ["masked-thought", "guess-blend"])
@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_share_of_what_is_shown_is_one(name: str, rate: float) -> None:
    batch = bind("source", "demonstrations")(material.context(policy()))
    with pytest.raises(ValueError, match=f"rate of corruption '{name}' is {rate}, .* set 0 to 1"):
        bind("corruption", name, rate=rate)(batch, mask_id=6, seed=1)
