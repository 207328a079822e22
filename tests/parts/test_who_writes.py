"""What the sources, the objective and the rewards of learning from own samples do beyond the battery."""

from functools import cache
from math import inf
from typing import Any

import pytest

import material
from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.config.plan import assemble
from scalpel.config.recipe import parse, write
from scalpel.data.example import Example
from scalpel.data.trajectory import completion
from scalpel.part import bind, scheduled
from scalpel.rewards import Rewards
from scalpel.rewards.declared import roles
from scalpel.sources.acceptance import edits
from scalpel.sources.context import SourceContext

EQUATION = r"\d\+\d"


@cache
def policy() -> material.Engine:
    return material.engine(reference=1, weak=2, earlier=3)


def said(*spoken: str, cut: str = "", heard: list | None = None, **changes: Any) -> SourceContext:
    """A source context whose models say these texts, one a sample, to every prompt, a text with {} filled with the
    prompt; a sample's reward is how many "y" it has, the text `cut` is not finished, and `heard` gets who was asked
    what."""
    tokens = policy().tokens

    def sample(prompts, n, seed, limits=None, writer="policy"):
        asked = [str(tokens.tokenizer.decode(prompt)) for prompt in prompts]
        if heard is not None:
            heard.extend((writer, prompt) for prompt in asked)
        groups = [[text.replace("{}", prompt) for text in spoken[:n]] for prompt in asked]
        return [
            [
                completion(p, x := tokens.completion(t, ""), [-1.0] * len(x), "length" if t == cut else "stop")
                for t in group
            ]
            for p, group in zip(prompts, groups, strict=True)
        ]

    def reward(examples, samples):
        return [[[float(tokens.text(s.ids).count("y"))] for s in group] for group in samples]

    given = dict(sample=sample, reward=reward, examples=material.EXAMPLES[:1])
    return material.context(policy(), **{**given, **changes})


def texts(batch: Batch) -> list[str]:
    return [policy().tokens.text(batch.ids_N[(batch.seq_N == s) & batch.train_N].tolist()) for s in range(batch.S)]


# --- accepted samples ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "least"),
    [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("ab", "ba", 2)],
)
def test_edits_are_levenshtein_s_distance(a: str, b: str, least: int) -> None:
    assert edits(list(map(ord, a)), list(map(ord, b))) == least == edits(list(map(ord, b)), list(map(ord, a)))


def test_the_best_of_n_is_the_finished_sample_with_the_highest_reward() -> None:
    best = bind("source", "accepted-samples", size=4, threshold=-inf, keep=1, order="best")
    assert texts(best(said("no", "yy", "yyy", "y"))) == ["yyy"]
    assert texts(best(said("no", "yy", "yyy", "y", cut="yyy"))) == ["yy"]
    assert texts(best(said("a", "b", "c", "d"))) == ["a"]
    two = bind("source", "accepted-samples", size=4, threshold=-inf, keep=2, order="best")
    assert texts(two(said("no", "yy", "yyy", "y"))) == ["yyy", "yy"]


def test_a_key_says_which_samples_are_alike() -> None:
    by_key = bind("source", "accepted-samples", size=4, key=EQUATION)
    spoken = ("y 1+2", "so y is 1+2", "y 2+1", "y 1+2 2+1")
    assert texts(by_key(said(*spoken))) == ["y 1+2", "y 2+1", "y 1+2 2+1"]
    assert len(texts(bind("source", "accepted-samples", size=4)(said(*spoken)))) == 4


def test_of_samples_alike_the_one_farthest_from_all_others_is_kept() -> None:
    apart = bind("source", "accepted-samples", size=4, key=EQUATION, order="apart")
    # of the two with 1+2 the second is farther from "y 2+1": 8 edits against 2
    assert texts(apart(said("y 1+2", "y 2+1", "surely 1+2", "no 1+2"))) == ["surely 1+2", "y 2+1"]
    assert texts(apart(said("surely 1+2", "y 2+1", "y 1+2"))) == ["surely 1+2", "y 2+1"]


def test_a_key_that_is_no_expression_is_refused_with_its_fault() -> None:
    with pytest.raises(ValueError, match="'key', which tells what is a duplicate: '\\(' is no regular expression"):
        bind("source", "accepted-samples", key="(")(said("y"))


def test_a_row_that_keeps_whatever_its_reward_is_written_back_as_it_was() -> None:
    recipe = parse({"model": "m", "task": {"name": "t"}, "train": {"method": "best-of-n"}})
    source = recipe.stages[0].signals[0].source
    assert source is not None and source.hyper["threshold"] == -inf and "threshold = -inf" in write(recipe)


# --- who writes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", ["policy", "reference", "previous", "weak"])
def test_the_writer_that_a_source_names_is_asked(writer: str) -> None:
    for name, hyper in (("accepted-samples", {"size": 1}), ("answers", {}), ("own-or-gold", {"paraphrase": ""})):
        heard: list = []
        bound = bind("source", name, writer=writer, **hyper)
        bound(said("y", heard=heard))
        assert heard == [(writer, "ab")] and bound.declared("asks") == {writer}


def test_a_writer_that_the_recipe_does_not_have_is_refused_with_the_way_out() -> None:
    raw = {"model": "m", "task": {"name": "t"}, "train": {"method": "weak-to-strong"}}
    recipe = parse(raw)
    with pytest.raises(ValueError, match="needs a 'weak' model: name one under .models., as in weak = "):
        assemble(recipe.stages[0], recipe)
    for own in ("reference", "previous", "earlier"):
        signal = {"source": {"name": "answers", "writer": own}, "objective": "nll"}
        recipe = parse({**raw, "train": {"signals": [signal]}})
        assert assemble(recipe.stages[0], recipe).roles == {own}


def test_answers_that_were_cut_off_are_left_out_and_others_are_taken_for_right() -> None:
    assert texts(bind("source", "answers")(said("no"))) == ["no"]
    batch = bind("source", "answers")(said("no"))
    assert bool((batch.author_N[batch.train_N] == DEMONSTRATION).all())
    assert bind("source", "answers")(said("no", cut="no")).S == 0


def test_a_share_of_earlier_opponents_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="earlier is 1.5, but it is a share of the prompts: set 0 to 1"):
        bind("source", "self-play", earlier=1.5)(said("y"))


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_a_share_of_the_own_choice_that_is_none_is_refused(alpha: float) -> None:
    batch = material.batch()
    bound = bind("objective", "confidence", alpha=alpha)
    with pytest.raises(
        ValueError, match=f"alpha is {alpha}, but it is the weight of the model's own predictions: set 0 to 1"
    ):
        material.call(bound, material.numbers(batch, bound), batch)


def test_self_play_has_four_iterations_with_the_settings_of_the_authors_code() -> None:
    stages = parse({"model": "m", "task": {"name": "t"}, "train": {"method": "spin"}}).stages
    hypers = [(s.signals[0].source.hyper["earlier"], s.signals[0].objective.hyper["beta"]) for s in stages]  # type: ignore[union-attr]
    assert hypers == [(0.0, 0.1), (0.5, 0.1), (0.5, 0.1), (0.5, 5.0)]
    assert [s.learning_rate for s in stages] == [5e-7, 5e-7, 1e-7, 1e-7]
    assert {(s.optimizer, s.schedule, s.warmup, s.reference) for s in stages} == {("rmsprop", "linear", 0.1, "start")}


# --- pairs --------------------------------------------------------------------------------------------------


def test_pairs_of_extremes_are_the_best_and_the_worst_sample_of_whoever_is_asked() -> None:
    heard: list = []
    extremes = bind("source", "preference-pairs", make="samples", size=4, choose="extremes", writer="reference")
    batch = extremes(said("y", "yyy", "no", "yy", heard=heard))
    assert texts(batch) == ["yyy", "no"] and batch.label_S.tolist() == [1, -1]
    assert {writer for writer, _ in heard} == {"reference"} == extremes.declared("asks")
    assert extremes(said("y", "ny", "yn", "y")).S == 0
    assert bind("source", "preference-pairs", make="given", writer="weak").declared("asks") == set()


# --- own or gold --------------------------------------------------------------------------------------------


def test_a_right_answer_of_its_own_comes_before_its_paraphrase_and_that_before_the_demonstration() -> None:
    heard: list = []
    batch = bind("source", "own-or-gold")(said("y", heard=heard))
    assert texts(batch) == ["y"] and bool((batch.author_N[batch.train_N] == POLICY).all())
    assert heard == [("reference", "ab")]
    template = "{prompt}: {completion}, y"
    batch = bind("source", "own-or-gold", paraphrase=template)(said("{}", heard=heard))
    assert heard[1:] == [("reference", "ab"), ("reference", "ab:  cdef, y")]
    assert texts(batch) == ["ab:  cdef, y"]  # "ab" has no y, so is wrong; the paraphrase has one
    prompt = policy().tokens.prompt("ab")
    assert batch.ids_N[: len(prompt)].tolist() == prompt and not batch.train_N[: len(prompt)].any()
    batch = bind("source", "own-or-gold")(said("no"))
    assert texts(batch) == [" cdef"] and bool((batch.author_N[batch.train_N] == DEMONSTRATION).all())


def test_only_prompts_that_were_answered_wrongly_are_paraphrased_and_none_without_a_template() -> None:
    two = [Example("xy", " a", id="0"), Example("b", " c", id="1")]
    heard: list = []
    batch = bind("source", "own-or-gold", paraphrase="{completion}!")(said("{}", heard=heard, examples=two))
    assert [prompt for _, prompt in heard] == ["xy", "b", " c!"] and texts(batch) == ["xy", " c"]
    last: list = []
    bind("source", "own-or-gold", paraphrase="")(said("no", heard=last))
    assert len(last) == 1


def test_a_paraphrase_of_a_conversation_is_asked_for_by_its_last_message() -> None:
    chat = ({"role": "system", "content": "s"}, {"role": "user", "content": "q"})
    heard: list = []
    bind("source", "own-or-gold", paraphrase="{prompt}? {completion}.")(
        said("no", heard=heard, examples=[Example(chat, "a")])
    )
    assert "user\nq? a.<|end|>" in heard[1][1] and heard[1][1].startswith("<|start|>system\ns<|end|>")


def test_a_template_without_a_place_for_the_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="'say it again' has no place for the answer: write {completion} into it"):
        bind("source", "own-or-gold", paraphrase="say it again")(said("y"))


# --- schedules that arrive early ----------------------------------------------------------------------------


def test_a_schedule_may_arrive_early_and_stays() -> None:
    ramp = {"from": 0.0, "to": 0.5, "until": 0.1}
    assert [scheduled(ramp, p) for p in (0.0, 0.05, 0.1, 0.7)] == [0.0, 0.25, 0.5, 0.5]
    half = {**ramp, "over": "cosine"}
    assert [scheduled(half, p) for p in (0.0, 0.05, 0.1, 1.0)] == pytest.approx([0.0, 0.25, 0.5, 0.5])


def test_a_jump_rises_as_if_it_took_the_whole_run_and_then_is_there_at_once() -> None:
    ramp = {"from": 0.0, "to": 0.5, "until": 0.1, "over": "jump"}
    assert [scheduled(ramp, p) for p in (0.0, 0.05, 0.0999, 0.1, 1.0)] == pytest.approx([0.0, 0.025, 0.04995, 0.5, 0.5])


@pytest.mark.parametrize("until", [0.0, -1.0, 1.5])
def test_a_schedule_that_never_or_too_late_arrives_is_refused(until: float) -> None:
    alpha = {"from": 0.0, "to": 0.5, "until": until}
    signal = {"source": "answers", "objective": {"name": "confidence", "alpha": alpha}}
    raw = {"model": "m", "models": {"weak": "w"}, "task": {"name": "t"}, "train": {"signals": [signal]}}
    recipe = parse(raw)
    with pytest.raises(ValueError, match="must be a number above 0 and at most 1"):
        assemble(recipe.stages[0], recipe)


# --- rewards without a verifier -----------------------------------------------------------------------------


def test_a_judge_is_asked_behind_the_completion_and_its_share_of_yes_is_the_reward() -> None:
    asked: list = []

    def ask(role, prompts, answers):
        asked.append((role, list(prompts), tuple(answers)))
        return [[0.75, 0.25] for _ in prompts]

    chat = ({"role": "user", "content": "q"},)
    spec = {"name": "judge", "role": "teacher", "question": "ok?", "yes": " y", "no": " n"}
    rewards = Rewards([spec], ask=ask)
    found = rewards([Example("p"), Example(chat)], ["said", "so"], [[1], [2]])
    assert found.reward_SK.tolist() == [[0.75], [0.75]] and found.names == ("judge",)
    answered = ({"role": "assistant", "content": "so"}, {"role": "user", "content": "ok?"})
    assert asked == [("teacher", ["psaid\nok?\n", (*chat, *answered)], (" y", " n"))]
    inside = {"name": "given", "of": "exact", "where": {"name": "judge", "role": "reference"}}
    assert roles([spec, "judge", "exact", inside]) == {"teacher", "reference"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "judge", "rol": "weak"}, "did you mean 'role'"),
        ({"name": "agreement", "pattern": 3}, "pattern is 3, but must be text"),
    ],
)
def test_a_judge_s_options_are_checked(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rewards([spec])


def test_a_completion_that_says_what_most_say_is_rewarded_within_its_own_prompt() -> None:
    one, other = Example("p"), Example("q")
    spoken = ["7", "8", " 7\n", "8", "9"]
    examples = [one, one, one, other, other]
    found = Rewards(["agreement"])(examples, spoken, [[1]] * 5).reward_SK[:, 0].tolist()
    assert found == [1.0, 0.0, 1.0, 0.0, 0.0]  # for q each answer has one vote, and one is no majority
    lone = Rewards([{"name": "agreement", "votes": 1}])(examples, spoken, [[1]] * 5).reward_SK[:, 0].tolist()
    assert lone == [1.0, 0.0, 1.0, 1.0, 0.0]  # of equally many the first wins
    by_number = Rewards([{"name": "agreement", "pattern": r"= (\d)"}])
    spoken = ["1+1 = 3", "it is = 2", "1+1 = 2", "none", "nothing"]
    assert by_number([one] * 5, spoken, [[1]] * 5).reward_SK[:, 0].tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]


def test_a_signal_may_have_rewards_of_its_own_and_the_judge_is_a_model_of_the_recipe() -> None:
    raw = {"model": "m", "task": {"name": "t"}, "data": {"rewards": ["exact"]}}
    rewards = [{"name": "judge", "role": "judge"}]
    recipe = parse({**raw, "train": {"method": "self-judged", "signals": {"0": {"rewards": rewards}}}})
    with pytest.raises(ValueError, match="needs a 'judge' model"):
        assemble(recipe.stages[0], recipe)
    recipe = parse({**raw, "train": {"method": "self-judged"}})
    plan = assemble(recipe.stages[0], recipe)
    assert plan.streams[0].rewards == ("judge",) and plan.roles == set()
    recipe = parse({**raw, "train": {"method": "grpo"}})
    assert assemble(recipe.stages[0], recipe).streams[0].rewards == ("exact",)
