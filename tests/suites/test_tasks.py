"""Every task of the suite: its own answers are right, others are not, splits never meet, and items stay the same."""

import pytest

import scalpel.tasks.suite  # noqa: F401
from scalpel.data.example import SPLITS, Example
from scalpel.evaluation.suites import ABILITIES, suite
from scalpel.evaluation.suites.grammar import PARADIGMS, grammar
from scalpel.evaluation.suites.knowledge import knowledge
from scalpel.registry import AXES
from scalpel.rewards.scored import unread
from scalpel.tasks.suite import judges
from scalpel.tasks.suite.instructions import RULES

TASKS = sorted(name for name in AXES["task"] if name.startswith("suite/"))


@pytest.mark.parametrize("name", TASKS)
def test_own_answers_are_right_and_another_item_s_are_mostly_not(name):
    task = AXES["task"][name]
    items = task.examples("test", 60)
    assert all(task.score(item.answer, item) == 1.0 for item in items)
    assert all(task.score(item.completion, item) == 1.0 for item in task.at(plain=True).examples("test", 20))
    assert all(unread(task.score(" \n", item)) for item in items)
    if name not in (
        "suite/unanswerable",
        "suite/refusal",
        "suite/over-refusal",
        "suite/instructions",
        "suite/programs",
    ):
        wrong = [task.score(b.answer, a) for a, b in zip(items, items[1:], strict=False) if a.answer != b.answer]
        assert sum(wrong) <= 0.05 * len(wrong)


@pytest.mark.parametrize("name", TASKS)
def test_splits_never_meet_and_items_are_the_same_each_time(name):
    task = AXES["task"][name]
    asked = {split: {str(item.prompt) for item in task.examples(split, 60)} for split in SPLITS}
    for split in SPLITS:
        others = set().union(*(asked[other] for other in SPLITS if other != split))
        assert asked[split] and not asked[split] & others
    assert task.examples("test", 10) == task.examples("test", 10) == task.examples("test", 60)[:10]


@pytest.mark.parametrize("size", ["quick", "full"])
@pytest.mark.parametrize("plain", [False, True])
def test_a_suite_has_the_items_that_it_promises(size, plain):
    for ability, probe in zip(ABILITIES, suite(size, plain), strict=True):
        assert len(list(probe.questions())) == getattr(ability, size), ability.name


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        ("upper", "THE SEA IS WIDE.", "THE SEA is WIDE."),
        ("words", "Calm and wide", "Calm"),
        ("sentences", "I swim. I rest.", "I swim."),
        ("bullets", "- a\n- b", "a\nb"),
        ("bullets", "1. a\n2) b", "- a\n- b\n- c"),
        ("json", '```json\n{"a": 1, "b": 2}\n```', '{"a": 1}'),
        ("begins", '"Castle walls are old."', "An old Castle."),
        ("ends", "We left. The end.", "The end. We left."),
        ("includes", "An apple by the river.", "An apple."),
        ("order", "An apple, a river, a table.", "A river, an apple, a table."),
        ("quoted", "“So it is.”", "So it is."),
        ("no-comma", "I came. I saw.", "I came, I saw."),
        ("language", "El mar es muy azul y la playa está cerca.", "The sea is very blue and the beach is near."),
        ("language", "Me gusta el mar porque es grande.", "Ich mag das Meer und die Sonne."),
    ],
)
def test_rules_of_instructions(rule, right, wrong):
    columns = {
        "words": {"n": 3}, "sentences": {"n": 2}, "bullets": {"n": 2}, "json": {"keys": ["a", "b"]},
        "begins": {"word": "Castle"}, "ends": {"phrase": "The end."}, "includes": {"chosen": ["apple", "river"]},
        "order": {"chosen": ["apple", "river", "table"]}, "language": {"language": "Spanish"},
    }  # fmt: skip
    example = Example(columns=columns.get(rule, {}))
    check = RULES[rule][1]
    assert check(right, example) and not check(wrong, example)


@pytest.mark.parametrize(
    ("judge", "said", "answer", "score"),
    [
        (judges.last_number, "12 + 30 = 42.", "42", 1.0),
        (judges.last_number, "That makes 1,042 in all", "1042", 1.0),
        (judges.last_number, "42 or 43", "42", 0.0),
        (judges.mentions, "It is Paris, of course.", "Paris", 1.0),
        (judges.mentions, "It is Parisian.", "Paris", 0.0),
        (judges.says_unknown, "The text does not mention it.", "unknown", 1.0),
        (judges.says_unknown, "A goat.", "unknown", 0.0),
        (judges.same_line, "Sorted: apple, river.", "apple, river", 1.0),
        (judges.same_line, "river, apple", "apple, river", 0.0),
        (judges.exact_line, "APPLE", "APPLE", 1.0),
        (judges.exact_line, "apple", "APPLE", 0.0),
    ],
)
def test_verifiers(judge, said, answer, score):
    assert judge(said, Example(answer=answer)) == score


def test_a_wrong_candidate_beside_the_right_one_is_no_answer():
    example = Example(answer="Lyon", columns={"wrong": ["Paris"]})
    assert judges.mentions("Lyon.", example) == 1.0
    assert judges.mentions("Paris, or Lyon.", example) == 0.0


def test_minimal_pairs_differ_and_every_paradigm_is_there():
    pairs = grammar(240)
    assert all(one.choices[0] != one.choices[1] for one in pairs)
    assert {one.id.rpartition("-")[0] for one in pairs} == {paradigm.__name__ for paradigm in PARADIGMS}
    assert grammar(240) == pairs and grammar(60) == pairs[:60]


def test_choices_of_knowledge_have_one_right_answer_and_no_position_gives_it_away():
    facts = knowledge(1000)
    assert len({one.id for one in facts}) == len(facts) > 250
    assert all(len(set(one.choices)) == 4 for one in facts)
    places = [sum(one.answer == k for one in facts) / len(facts) for k in range(4)]
    assert min(places) > 0.15


def test_without_a_sandbox_programs_are_left_out_and_refused_by_name(monkeypatch):
    monkeypatch.setattr("scalpel.evaluation.suites.missing", lambda: "no namespaces")
    assert "programs" not in [probe.name for probe in suite("quick")]
    with pytest.raises(ValueError, match="'programs' runs what the model writes.*no namespaces"):
        suite("quick", only=["programs"])
