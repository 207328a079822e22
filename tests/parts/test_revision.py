"""What the sources of revision make of a policy whose words are known, and what they refuse."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

import material
from scalpel.batch import DEMONSTRATION, ENVIRONMENT, POLICY, Batch
from scalpel.config.plan import assemble
from scalpel.config.recipe import parse
from scalpel.data.example import Example
from scalpel.data.prompts import asked_again, seen_before, with_prefix
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import Trajectory, completion
from scalpel.part import bind
from scalpel.rewards.scored import SampleRewards, said
from scalpel.sources.context import SourceContext
from scalpel.sources.interventions import ASK
from scalpel.sources.steps import cuts, spaced
from scalpel.world.task import final
from scalpel.world.tasks.worked import CHAINS, first_error
from scalpel.world.vocabulary import tokenizer

SUM = Example("sum 1+2+3>", "1+2=3;3+3=6#6", "6", id="sum")
ASKED = ({"role": "user", "content": "sum 1+2+3"},)
Speak = Callable[[str, int], str]  # what is asked, and which sample: what is answered
CUT = "…"  # at the end of an answer that was cut off


@cache
def policy() -> material.Engine:
    return material.engine()


def scripted(speak: Speak, *examples: Example, asked: list[str] | None = None, **changes: Any) -> SourceContext:
    """A source context whose policy answers as `speak` says; right is what ends in the answer, and first_error has the
    words."""
    tokens = policy().tokens

    def said(prompt: list[int], text: str) -> Trajectory:
        ids = tokens.completion(text.removesuffix(CUT), "")
        return completion(prompt, ids, [-1.0] * len(ids), "length" if text.endswith(CUT) else "stop")

    def sample(prompts, n, seed, limits=None, writer="policy"):
        heard = [tokens.tokenizer.decode(ids) for ids in prompts]
        if asked is not None:
            asked.extend(heard)
        return [[said(p, speak(text, k)) for k in range(n)] for p, text in zip(prompts, heard, strict=True)]

    def judged(example: Example, sample: Trajectory) -> SampleRewards:
        text = tokens.text(sample.ids)
        return SampleRewards([float(final(text) == example.answer)], first_error(text, example))

    def reward(examples, samples):
        return [[judged(e, s) for s in group] for e, group in zip(examples, samples, strict=True)]

    given = dict(sample=sample, reward=reward, examples=list(examples or (SUM,)), max_tokens=64)
    return material.context(policy(), **{**given, **changes})


def rows(batch: Batch) -> list[tuple[str, str]]:
    """What is shown before the last trained stretch of each row, and what is trained, as text."""
    decode = policy().tokens.tokenizer.decode
    found = []
    for s in range(batch.S):
        ids, train = batch.ids_N[batch.seq_N == s], batch.train_N[batch.seq_N == s]
        found.append((decode(ids[~train].tolist()), decode(ids[train].tolist())))
    return found


# --- words --------------------------------------------------------------------------------------------------


def test_the_world_names_the_first_wrong_step_in_either_style():
    a = replace(SUM, completion="8+5=13;13-2=11#11", answer="11")
    b = replace(a, completion="13,11#11")
    for example in (a, b):
        assert first_error("8+5=13;13-2=11#11", example) == first_error("13,11#11", example) == ""
        assert first_error("8+5=14;14-2=12#12", example) == "step 1 is wrong."
        assert first_error("13,12#12", example) == "step 2 is wrong."
        assert first_error("13#13", example) == "a step is missing."
        assert first_error("13,11,9#9", example) == "a step too many."
        assert first_error("13,11#12", example) == "the answer is not the last result."


def test_every_demonstration_of_the_world_is_without_fault_at_any_difficulty():
    for task in (CHAINS, CHAINS.at(most=8)):
        assert not any(task.feedback(e.completion or "", e) for e in task.examples("train", 50))
        assert task.feedback("0#0", task.examples("train", 1)[0])


def test_marks_are_the_rewards_with_words_beside_them():
    assert SampleRewards([1.0, 2.0], "so so") == [1.0, 2.0]
    assert said(SampleRewards([1.0], "so so")) == "so so" and said(SampleRewards([1.0])) == said([1.0]) == ""


# --- turns and steps ----------------------------------------------------------------------------------------


def test_words_go_before_what_is_asked_last_and_turns_behind_it():
    system = {"role": "system", "content": "be kind"}
    assert with_prefix("good. ", "ab") == "good. ab"
    assert with_prefix("good. ", (system, *ASKED))[1]["content"] == "good. sum 1+2+3"
    assert asked_again("q>", "a", "again") == "q>a\nagain\n"
    assert [m["content"] for m in asked_again(ASKED, "7", "again")] == ["sum 1+2+3", "7", "again"]
    assert seen_before("q>", "a") == "q>a\nq>"
    assert [m["role"] for m in seen_before(ASKED, "6")] == ["user", "assistant", "user"]


@pytest.mark.parametrize("tokens", [policy().tokens, Tokens(tokenizer())], ids=["bytes", "characters"])
def test_steps_are_cut_where_the_expression_ends_and_never_at_the_end(tokens):
    ids = tokens.completion("ab;cd;ef#g", "")
    assert [tokens.text(ids[:n]) for n in cuts(tokens, ids, "[;#]")] == ["ab;", "ab;cd;", "ab;cd;ef#"]
    assert cuts(tokens, ids, "") == list(range(1, 10)) and cuts(tokens, ids, "g") == cuts(tokens, ids, "!") == []


def test_a_cut_is_never_inside_a_character():
    tokens = policy().tokens
    ids = tokens.completion("é;ü;x", "")
    assert [tokens.text(ids[:n]) for n in cuts(tokens, ids, "[éü]")] == ["é", "é;ü"]


def test_states_are_spread_evenly():
    assert spaced(range(9), 3) == [1, 4, 7] and spaced(range(2), 3) == [0, 1] and spaced(range(5), 0) == []


def test_a_boundary_that_is_no_expression_is_refused():
    context = scripted(lambda asked, k: "7#7")
    with pytest.raises(ValueError, match=r"boundary: '\(' is no regular expression.*where a step ends"):
        bind("source", "beneficial-steps", boundary="(", imitate=False)(context)


# --- feedback-samples ---------------------------------------------------------------------------------------


def test_each_sample_stands_behind_its_mark_and_what_was_said_of_it():
    asked: list[str] = []
    answers = ["3,6#6", "3,7#7"]
    batch = bind("source", "feedback-samples", size=2)(scripted(lambda text, k: answers[k], asked=asked))
    assert asked == ["good. sum 1+2+3>"]
    assert rows(batch) == [
        ("good. sum 1+2+3>", "3,6#6</s>"),
        ("bad. step 2 is wrong. sum 1+2+3>", "3,7#7</s>"),
    ]
    assert batch.reward_S.tolist() == [1.0, 0.0]


def test_without_words_there_is_the_mark_alone_and_the_plain_prompt_may_be_asked():
    asked: list[str] = []
    context = scripted(lambda text, k: "3,7#7", asked=asked)
    batch = bind("source", "feedback-samples", size=1, feedback=False, bad="no: ", asked_good=False)(context)
    assert rows(batch) == [("no: sum 1+2+3>", "3,7#7</s>")] and asked == ["sum 1+2+3>"]


def test_a_chat_prompt_is_marked_inside_the_user_s_message():
    context = scripted(lambda text, k: "3,6#6", replace(SUM, prompt=ASKED))
    ((shown, _),) = rows(bind("source", "feedback-samples", size=1)(context))
    assert "<|start|>user\ngood. sum 1+2+3<|end|>" in shown


# --- revisions ----------------------------------------------------------------------------------------------


def by_turn(*turns: Sequence[str]) -> Speak:
    """Samples by how often it was asked again."""
    return lambda text, k: turns[text.count("again")][k]


def revised(*turns: Sequence[str], **hyper: Any) -> list[tuple[str, str]]:
    sizes = tuple(len(turn) for turn in turns)
    source = bind("source", "revisions", sizes=sizes, **{"again": "again", **hyper})
    return rows(source(scripted(by_turn(*turns))))


def test_the_best_answer_of_a_turn_is_learnt_behind_the_failed_one():
    assert revised(["7#7"], ["8#8", "3,6#6"]) == [
        ("sum 1+2+3>", "7#7</s>"),
        ("sum 1+2+3>7#7\nagain\n", "3,6#6</s>"),
    ]


def test_a_conversation_ends_with_the_first_right_answer():
    assert revised(["6#6"], ["3,6#6", "8#8"]) == [("sum 1+2+3>", "6#6</s>")]


def test_the_rules_of_keeping():
    wrong = [["7#7"], ["8#8"], ["3,6#6"]]
    trained = lambda keep: [text for _, text in revised(*wrong, keep=keep)]  # noqa: E731
    assert trained("all") == trained("best") == ["7#7</s>", "8#8</s>", "3,6#6</s>"]  # the second is no worse
    assert trained("better") == ["7#7</s>", "3,6#6</s>"]
    assert trained("success") == ["3,6#6</s>"]


def test_no_answer_is_given_twice_unless_said():
    assert len(revised(["7#7"], ["7#7"], ["3,6#6"])) == 1  # there is nothing new to go on with
    assert [text for _, text in revised(["7#7"], ["7#7", "8#8"])] == ["7#7</s>", "8#8</s>"]
    assert len(revised(["7#7"], ["7#7"], ["3,6#6"], distinct=False)) == 3


def test_the_verifier_s_words_stand_behind_the_request():
    assert revised(["3,7#7"], ["3,6#6"], feedback=True)[1][0].endswith("3,7#7\nagain step 2 is wrong.\n")


def test_turns_are_numbered_and_a_chat_goes_on_in_its_template():
    source = bind("source", "revisions", sizes=(1, 1), again="again")
    batch = source(scripted(by_turn(["7#7"], ["3,6#6"]), replace(SUM, prompt=ASKED)))
    assert batch.turn_N[batch.train_N].unique().tolist() == [0, 1]
    assert "<|start|>assistant\n7#7<|end|>\n<|start|>user\nagain<|end|>" in rows(batch)[1][0]


@pytest.mark.parametrize("answers", [["7#7", "6#6"], ["7#7", "8#8"]])
def test_one_turn_of_right_answers_is_accepted_samples(answers):
    accepted = bind("source", "accepted-samples", size=2, keep=1)(scripted(by_turn(answers)))
    assert revised(answers, keep="success") == rows(accepted)


def test_what_was_cut_off_is_looked_back_on_where_there_is_nothing_else_and_never_learnt():
    assert revised(["7#7…"], ["3,6#6"]) == [("sum 1+2+3>7#7\nagain\n", "3,6#6</s>")]
    assert revised(["3,6#6…", "7#7"], ["6#6"])[0] == ("sum 1+2+3>", "7#7</s>")
    cut = ["3,6#6…", "3,6#6"]
    accepted = bind("source", "accepted-samples", size=2, keep=1)(scripted(by_turn(cut)))
    assert revised(cut, keep="success") == rows(accepted) == [("sum 1+2+3>", "3,6#6</s>")]


@pytest.mark.parametrize("sizes", [(), (1, 0)])
def test_turns_without_samples_are_refused(sizes):
    with pytest.raises(ValueError, match=r"sizes is .*number of samples for each turn, such as \[1, 16\]"):
        bind("source", "revisions", sizes=sizes)(scripted(lambda text, k: ""))


def test_a_recipe_s_list_of_sizes_is_read_as_such():
    def recipe(sizes):
        signal = {"source": {"name": "revisions", "sizes": sizes}, "credit": ["exp-reward"], "objective": "nll"}
        return parse({"model": "m", "task": {"name": "t"}, "train": {"signals": [signal]}})

    good = recipe([1, 4, 4])
    assert assemble(good.stages[0], good).streams[0].source.hyper["sizes"] == (1, 4, 4)
    bad = recipe(["one"])
    with pytest.raises(ValueError, match="'sizes' of source 'revisions'.0 is 'one', but must be an integer"):
        assemble(bad.stages[0], bad)


def test_a_temperature_of_zero_is_refused_by_exp_reward():
    batch = material.batch()
    bound = bind("credit", "exp-reward", tau=0.0)
    with pytest.raises(ValueError, match="needs a temperature above 0"):
        material.call(bound, material.numbers(batch, bound), batch)


# --- beneficial-steps ---------------------------------------------------------------------------------------

FAILED = Example("go>", "a;b;c;d;X", "end", id="failed")


def explored(solved: Sequence[str], **hyper: Any) -> Batch:
    """What is made of a failing demonstration if the policy succeeds behind these beginnings of it alone."""
    speak = lambda text, k: "#end" if text.removeprefix("go>") in solved and k == 1 else "#lost"  # noqa: E731
    source = bind("source", "beneficial-steps", **{"states": 5, "size": 2, "boundary": ";", **hyper})
    return source(scripted(speak, FAILED))


def test_a_step_is_learnt_where_it_leads_from_a_failing_to_a_solved_state():
    # from the figure of the paper: s0 fails, s1 succeeds, s2 fails, s3 succeeds: the first and the third step are good
    batch = explored(["a;", "a;b;c;"])
    assert rows(batch) == [("go>", "a;#end</s>"), ("go>a;b;", "c;#end</s>")]
    first = batch.author_N[(batch.seq_N == 1)].tolist()
    assert first == [ENVIRONMENT] * 3 + [DEMONSTRATION] * 6 + [POLICY] * 5


def test_what_follows_a_solved_state_is_not_learnt_and_no_step_where_the_beginning_is_solved():
    assert rows(explored(["a;b;", "a;b;c;"])) == [("go>a;", "b;#end</s>")]
    assert rows(explored(["", "a;"])) == [("go>", "#end</s>")]
    assert explored([]).S == 0


def test_a_right_demonstration_is_imitated_whole_or_explored():
    right = replace(FAILED, completion="a;b#end")
    context = scripted(lambda text, k: "#lost", right)
    source = bind("source", "beneficial-steps", boundary=";")
    assert rows(source(context)) == [("go>", "a;b#end</s>")]
    solved = scripted(lambda text, k: "#end", right)
    assert rows(source(solved)) == [("go>", "a;b#end</s>"), ("go>", "#end</s>")]
    assert bind("source", "beneficial-steps", boundary=";", imitate=False)(context).S == 0


def test_without_states_only_right_demonstrations_are_left_and_nothing_is_sampled():
    asked: list[str] = []
    context = scripted(lambda text, k: "#end", FAILED, replace(FAILED, completion="#end"), asked=asked)
    batch = bind("source", "beneficial-steps", states=0)(context)
    assert rows(batch) == [("go>", "#end</s>")] and not asked and batch.group_S.tolist() == [1]


def test_start_and_continuation_share_the_budget_of_tokens():
    limits: list[int] = []
    context = scripted(lambda text, k: "#lost", FAILED, max_tokens=6)

    def sample(prompts, n, seed, limits_=None):
        limits.extend(len(ids) + limit for ids, limit in zip(prompts, limits_, strict=True))
        return context.sample(prompts, n, seed)

    bind("source", "beneficial-steps", states=9, boundary="")(replace(context, sample=sample))
    assert set(limits) == {len("go>") + 6} and len(limits) == 6


# --- interventions ------------------------------------------------------------------------------------------

STEPS = {"boundary": ";", "size": 2, "tries": 2}


def patched(speak: Speak, *, asked: list[str] | None = None, example: Example = SUM, **hyper: Any) -> Batch:
    return bind("source", "interventions", **{**STEPS, **hyper})(scripted(speak, example, asked=asked))


def solver(reply: str) -> Speak:
    """Fails at the first step when asked plainly, and goes on rightly behind a right first step."""

    def speak(text: str, k: int) -> str:
        if "right solution" in text:
            return reply
        return "3+3=6#6" if text.endswith("1+2=3;") else "1+2=4;4+3=7#7"

    return speak


def test_the_model_names_its_first_error_and_puts_it_right():
    asked: list[str] = []
    batch = patched(solver("1: 1+2=3;"), asked=asked)
    assert rows(batch) == [("sum 1+2+3>", "1+2=3;")]  # nothing behind it, and no end
    assert batch.reward_S.tolist() == [1.0] and batch.author_N[batch.train_N].unique().tolist() == [POLICY]
    words = ASK.replace("{reference}", "1+2=3;3+3=6#6").replace("{attempt}", "1: 1+2=4;\n2: 4+3=7#7")
    assert asked == ["sum 1+2+3>", f"sum 1+2+3>1+2=4;4+3=7#7\n{words}\n", "sum 1+2+3>1+2=3;"]


@pytest.mark.parametrize("locate", ["asked", "tried"])
def test_a_chat_is_asked_in_turns_and_learns_its_first_turn_alone(locate):
    asked: list[str] = []

    def speak(text: str, k: int) -> str:
        return "1+2=3;9" if "6#6<|end|>" in text else solver("1: 1+2=3;")(text, k)  # the first: it has seen the answer

    batch = patched(speak, asked=asked, example=replace(SUM, prompt=ASKED), locate=locate)
    ((shown, trained),) = rows(batch)
    assert trained == "1+2=3;" and shown == asked[0] and shown.endswith("<|start|>assistant\n")
    proposing = asked[1] if locate == "asked" else asked[2]
    assert proposing.count("<|start|>user") == 2 and "3+3=6#6" in proposing


def later(text: str, k: int) -> str:
    if "right solution" in text:
        return "step 2: 3+3=6;"
    return "#6" if text.endswith("3+3=6;") else "1+2=3;3+3=7;#7"


def test_the_beginning_before_the_error_is_learnt_unless_said():
    assert rows(patched(later, reveal=True)) == [("sum 1+2+3>", "1+2=3;3+3=6;")]
    assert rows(patched(later, reveal=True, clone=False)) == [("sum 1+2+3>1+2=3;", "3+3=6;")]


def test_a_proposal_that_holds_the_answer_is_dropped_unless_said():
    assert patched(later).S == 0
    inside = lambda text, k: later(text, k).replace("3+3=6;", "3+13=16;")  # noqa: E731  # "6" is no word of it
    assert patched(inside, tries=0).S == 1


@pytest.mark.parametrize("reply", ["no idea", "3: 1+2=3;", "0: 1+2=3;", "1: 1+2=4;", "1:  ", "1: 1+2=5;"])
def test_a_proposal_that_can_not_be_read_changes_nothing_or_leads_nowhere_is_dropped(reply):
    assert patched(solver(reply)).S == 0


def test_only_prompts_that_are_hard_enough_are_worked_on():
    answers = lambda text, k: "1+2=3;3+3=6#6" if k == 0 and text.endswith("3>") else solver("1: 1+2=3;")(text, k)  # noqa: E731
    assert patched(answers).S == 0 and patched(answers, hard=0.4).S == 0
    assert patched(answers, hard=0.5).S == 1


def test_enough_continuations_must_be_right():
    half = lambda text, k: "#7" if k == 1 and text.endswith(">1+2=3;") else solver("1: 1+2=3;")(text, k)  # noqa: E731
    assert patched(half).reward_S.tolist() == [0.5]
    assert patched(half, successes=2).S == 0


def test_by_trying_the_first_step_behind_which_nothing_ends_well_is_replaced():
    def speak(text: str, k: int) -> str:
        if "6#6\n" in text:  # it has seen the reference
            return "3+3=6;#6"
        return "#6" if text.endswith((">1+2=3;", "3+3=6;")) else "1+2=3;3+3=7;#7"

    asked: list[str] = []
    batch = patched(speak, asked=asked, locate="tried", reveal=True)
    assert rows(batch) == [("sum 1+2+3>", "1+2=3;3+3=6;")]
    assert asked == [
        "sum 1+2+3>",
        "sum 1+2+3>1+2=3;",
        "sum 1+2+3>1+2=3;3+3=7;",
        "sum 1+2+3>1+2=3;3+3=6#6\nsum 1+2+3>1+2=3;",
        "sum 1+2+3>1+2=3;3+3=6;",
    ]


def test_trying_without_tries_is_refused():
    with pytest.raises(ValueError, match='set tries to 1 or more, or locate to "asked"'):
        patched(solver(""), locate="tried", tries=0)


@pytest.mark.parametrize(
    ("hyper", "words"),
    [
        ({"reply": "("}, "reply of source 'interventions': '\\(' is no regular expression"),
        ({"reply": r"\d+: .+"}, "fewer than two groups: put the step's number and its text in parentheses"),
        ({"ask": "{attempt}"}, "has no place for {reference}: write that into it"),
        ({"ask": "{reference}"}, "has no place for {attempt}"),
    ],
)
def test_questions_and_replies_that_can_not_be_read_are_refused(hyper, words):
    with pytest.raises(ValueError, match=words):
        patched(solver("1: 1+2=3;"), **hyper)


def test_a_reply_whose_number_is_none_is_dropped():
    assert patched(solver("x: 1+2=3;"), reply=r"(\w+)?: (.+)").S == 0
    assert patched(solver(": 1+2=3;"), reply=r"(\w+)?: (.+)").S == 0
    assert patched(solver("1: 1+2=3;"), reply=r"(\w+)?: (.+)").S == 1
