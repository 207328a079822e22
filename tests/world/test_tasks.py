"""What the tasks ask is true in the world, judged by a second, independent reading of the prompt."""

import re

import numpy as np
import pytest

import scalpel.world  # noqa: F401
from scalpel import models
from scalpel.binding.bind import checked_value
from scalpel.engine import Engine
from scalpel.registry import lookup
from scalpel.world.people import ATTRIBUTES, FACTS, KNOWN, NAMES, NEW, PHRASINGS, QUESTIONS, STRANGERS, VALUES
from scalpel.world.tasks.worked import STYLES, first_error, results, style_of


def task(name, **difficulty):
    return lookup("task", f"world/{name}").at(**difficulty)


def items(name, n=200, split="train", **difficulty):
    return [(e.prompt[-1]["content"], e) for e in task(name, **difficulty).examples(split, n)]


def test_known_new_and_strange_people_are_different_people():
    assert len(set(NAMES)) == len(NAMES) == len(KNOWN) + len(NEW) + len(STRANGERS)
    assert set(FACTS) == {(name, attribute) for name in (*KNOWN, *NEW) for attribute in ATTRIBUTES}
    assert all(len(set(values)) == len(values) for values in VALUES.values())
    assert all(len(set(phrasings)) == PHRASINGS for phrasings in QUESTIONS.values())


def test_a_question_names_one_person_and_one_attribute():
    asked = [q.format("mara") for questions in QUESTIONS.values() for q in questions]
    assert len(set(asked)) == len(asked)


def test_reverse_and_sort_do_what_they_say():
    for text, e in items("reverse"):
        assert text == "reverse " + e.answer[::-1] and 3 <= len(e.answer) <= 8
    for text, e in items("sort"):
        assert e.answer == "".join(sorted(text.removeprefix("sort ")))
    assert all(9 <= len(e.answer) <= 12 for _, e in items("reverse-long"))


def test_sums_and_differences_are_right_and_never_negative():
    for text, e in items("add"):
        a, b = map(int, text.split()[1:])
        assert int(e.answer) == a + b
    for text, e in items("subtract"):
        a, b = map(int, text.split()[1:])
        assert int(e.answer) == a - b >= 0


def test_steps_are_true_equations_and_end_in_the_answer():
    for name in ("chains", "multiply"):
        for text, e in items(name):
            if e.columns["style"] == "a":
                for step in e.completion.partition("#")[0].split(";"):
                    left, right = step.split("=")
                    assert eval(left) == int(right)
            expression = text.removeprefix("sum ").removeprefix("multiply ").replace(" ", "*")
            assert int(e.answer) == eval(expression)
            assert e.completion.endswith("#" + e.answer)


def test_chains_stay_between_0_and_99():
    for _, e in items("chains"):
        results = re.findall(r"=(\d+)|(?:^|,)(\d+)", e.completion.partition("#")[0])
        assert results and all(0 <= int(a or b) <= 99 for a, b in results)


def test_both_styles_occur_and_are_recognised():
    for name in ("chains", "multiply"):
        styles = [e.columns["style"] for _, e in items(name)]
        assert all(60 < styles.count(style) < 140 for style in STYLES)
        assert all(style_of(e.completion) == e.columns["style"] for _, e in items(name))


def test_foreign_demonstrations_are_right_and_their_share_changes_no_question():
    for name in ("chains", "chains-again", "multiply", "retries"):
        shown = {share: items(name, 200, foreign=share) for share in (0.0, 0.4, 1.0)}
        styles = {share: [e.columns["style"] for _, e in found] for share, found in shown.items()}
        assert styles[1.0] == ["foreign"] * 200 and "foreign" not in styles[0.0]
        assert 50 < styles[0.4].count("foreign") < 110, "0.4 of 200, give or take four standard deviations"
        for own, some, all_of in zip(*shown.values(), strict=True):
            assert own[0] == some[0] == all_of[0] and own[1].id == some[1].id == all_of[1].id
            assert some[1].completion in (own[1].completion, all_of[1].completion)
            assert own[1].answer == all_of[1].answer
        for _, e in shown[1.0]:
            assert task(name).score(e.completion, e) == 1.0 and style_of(e.completion) == "foreign"
            assert task(name).feedback(e.completion, e) == ""
            equations = [step.split("=") for step in e.completion.partition("#")[0].split(";")]
            assert all(int(result) == eval(calculation) for result, calculation in equations)
            assert equations[-1][0] == e.answer


def test_feedback_compares_results_whatever_the_styles():
    (example,) = task("chains", foreign=1.0).examples("train", 1)
    right = [int(result) for result in results(example.completion)]
    assert first_error(",".join(map(str, right)) + f"#{example.answer}", example) == ""
    wrong = ",".join(map(str, [right[0] + 1, *right[1:]]))
    assert first_error(f"{wrong}#{example.answer}", example) == "step 1 is wrong."


def test_a_foreign_share_is_a_share():
    with pytest.raises(ValueError, match="foreign"):
        checked_value("foreign", 1.5, task("chains").keys()["foreign"].wanted)
    assert checked_value("foreign", 1, task("chains").keys()["foreign"].wanted) == 1.0


def test_the_base_would_hardly_write_a_foreign_demonstration():
    engine = Engine(*models.load("world-300k"))
    logp = {}
    for share in (0.0, 1.0):
        rows = [engine.tokens.last(e) for _, e in items("chains", 30, foreign=share)]
        logp[share] = np.mean([sum(row) for row in engine.logps(rows)])
    # of its own styles the base writes either with probability 1/2, and certain digits; a foreign one begins with a
    # result, and is next to impossible from there
    assert logp[1.0] < logp[0.0] - 15, logp


@pytest.mark.parametrize("text", ["", "42", "#42", "1+2=3,6#6", "oslo"])
def test_a_completion_in_neither_style_has_none(text):
    assert style_of(text) is None


def test_a_sum_asked_again_is_answered_as_before_and_stays_in_its_split():
    for text, e in items("chains-again", 50):
        assert [turn["content"] for turn in e.prompt] == [text, e.completion, text]
        assert e.completion.endswith(f"#{eval(text.removeprefix('sum '))}")
    asked = {text for text, _ in items("chains-again", 300, "test")}
    assert not asked & {text for text, _ in items("chains", 3000, "train")}


def test_a_second_try_follows_a_wrong_answer_with_one_slip():
    for text, e in items("retries", 100):
        question, said, _ = (turn["content"] for turn in e.prompt)
        total = eval(question.removeprefix("sum "))
        assert text == "wrong. again?" and e.completion.endswith(f"#{total}") and not said.endswith(f"#{total}")
        steps = [step.split("=") for step in said.partition("#")[0].split(";")] if "=" in said else []
        assert sum(eval(left) != int(right) for left, right in steps) == (1 if steps else 0)


def test_the_question_does_not_tell_the_style():
    shown = {(text, e.columns["style"]) for text, e in items("chains", 2000)}
    assert len({text for text, _ in shown}) == len(shown)
    assert not any("style" in text for text, _ in shown)


def replay(story):
    """Where everything is after the story: a dict thing → box."""
    laid, *moves = story.removeprefix("boxes: ").rstrip(".").split(". ")
    place = dict(piece.split() for piece in laid.split(", "))
    for move in moves:
        what, box = move.split(" to ")
        place = {t: box if what in (t, b) else b for t, b in place.items()}
    return place


def test_boxes_are_tracked():
    answers = set()
    for text, e in items("boxes", 500):
        story, _, question = text.rstrip("?").rpartition(". ")
        place = replay(story)
        if question.startswith("in "):
            inside = [thing for thing, box in place.items() if box == question[3:]]
            assert e.answer == (" ".join(inside) or "none")
        else:
            assert e.answer == place[question]
        answers.add(e.answer)
    assert {"1", "2", "3", "none"} < answers


def told(text):
    """(person, attribute) that a question is about."""
    return next(
        (name, attribute)
        for attribute, questions in QUESTIONS.items()
        for q in questions
        if (match := re.fullmatch(re.escape(q).replace(r"\{\}", "([a-z]{4})"), text))
        for name in match.groups()
    )


def test_facts_are_those_of_the_world():
    for name in ("facts", "new-facts"):
        for text, e in items(name):
            assert FACTS[told(text)] == e.answer
            assert (told(text)[0] in NEW) == (name == "new-facts")


def test_a_context_contradicts_and_the_instruction_decides():
    for text, e in items("context"):
        claim, trust, question = text.split(". ")
        truth = FACTS[told(question)]
        assert truth not in claim.split()
        if trust == "trust memory":
            assert e.answer == truth
        else:
            assert trust == "trust text" and e.answer in claim.split() and e.answer != truth


def test_what_nobody_knows_is_unknown():
    kinds = set()
    for text, e in items("unanswerable", 300):
        assert e.answer == "unknown"
        if "trust text" in text:
            claim, _, question = text.split(". ")
            assert not set(claim.split()) & set(VALUES[told(question)[1]])
            kinds.add("text")
        elif re.fullmatch(r"\w+ of \w+\?", text) and text.split()[0] not in (
            *ATTRIBUTES, "home", "trade", "beast", "dish", "birth"
        ):  # fmt: skip
            kinds.add("attribute")
        else:
            assert told(text)[0] in STRANGERS
            kinds.add("stranger")
    assert kinds == {"text", "attribute", "stranger"}


def test_a_chat_can_be_answered_only_with_its_earlier_turns():
    kinds = set()
    for text, e in items("chat", 300):
        first, said = e.prompt[0]["content"], e.prompt[1]["content"]
        if text.startswith("and ") and text != "and back?":
            assert FACTS[told(first)[0], text[4:-1]] == e.answer and FACTS[told(first)] == said
        elif text == "who am i?":
            assert first == f"i am {e.answer}."
        elif text == "and back?":
            assert first == f"reverse {e.answer}" and said == e.answer[::-1]
        else:
            assert FACTS[told(text)] == e.answer
        kinds.add(text if text in ("who am i?", "and back?") else text.startswith("and "))
    assert kinds == {"who am i?", "and back?", True, False}


def test_a_sentence_cut_before_its_value_asks_for_it():
    for e in lookup("task", "world/fact-sentences").examples("test", 100):
        assert isinstance(e.prompt, str)
        assert e.completion == f" {e.answer}."
