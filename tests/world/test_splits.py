"""Items: splits never meet, item i depends on (split, seed, i) alone, and each item's own answer is right."""

import pytest

import scalpel.world  # noqa: F401  (registers the tasks)
from scalpel.data.example import SPLITS
from scalpel.registry import AXES
from scalpel.world.splits import split_of
from scalpel.world.task import WorldTask

TASKS = {name: task for name, task in AXES["task"].items() if isinstance(task, WorldTask)}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def question(example):
    return repr(example.prompt)


def content(example):
    """What stands behind `<task>:<split>:` in an id, without the variant of the question."""
    return example.id.split(":", 2)[2].partition("/")[0]


def test_the_world_has_the_tasks_that_its_card_speaks_of_and_those_that_go_back_to_an_answer():
    wanted = """facts fact-sentences facts-b new-facts reverse reverse-b reverse-long sort sort-b add subtract chains
        multiply boxes context unanswerable chat"""
    beside = "chains-again retries calculator"
    assert {f"world/{name}" for name in [*wanted.split(), *beside.split()]} == set(TASKS)


@every_task
def test_its_own_answer_and_its_own_demonstration_score_one(task):
    for split in SPLITS:
        for example in task.examples(split, 30):
            assert task.score(example.answer, example) == 1.0
            assert task.score(example.completion, example) == 1.0


@every_task
def test_a_wrong_answer_scores_zero(task):
    for example in task.examples("test", 30):
        assert task.score(example.completion + "x", example) == 0.0
        assert task.score("", example) == 0.0


@every_task
def test_no_content_is_in_two_splits_whatever_the_seed(task):
    if task.name == "world/new-facts":
        return  # its splits differ in phrasing: see below
    seen = {split: {content(e) for seed in (0, 1) for e in task.examples(split, 150, seed)} for split in SPLITS}
    for i, a in enumerate(SPLITS):
        for b in SPLITS[i + 1 :]:
            assert seen[a] and not seen[a] & seen[b]


def test_new_facts_are_asked_in_other_words_in_every_split():
    task = TASKS["world/new-facts"]
    asked = {split: {question(e) for e in task.examples(split, 1000)} for split in SPLITS}
    facts = {split: {content(e) for e in task.examples(split, 1000)} for split in SPLITS}
    assert facts["train"] == facts["test"] and len(facts["test"]) == 200
    assert not asked["train"] & (asked["tune"] | asked["keep"] | asked["test"])


@every_task
def test_more_items_begin_with_the_same_items(task):
    assert task.examples("test", 10, seed=3) == task.examples("test", 25, seed=3)[:10]


@every_task
def test_seeds_differ_and_items_are_distinct(task):
    examples = task.examples("train", 120)
    assert len({e.id for e in examples}) == len({question(e) for e in examples}) == len(examples) == 120
    assert task.examples("train", 120, seed=1) != examples


def test_a_small_space_gives_fewer_items_and_none_twice():
    few = TASKS["world/subtract"].at(least=0, most=9).examples("test", 500)
    assert 0 < len(few) < 55
    assert len({e.id for e in few}) == len(few)


def test_difficulty_is_a_setting_of_the_task():
    longer = TASKS["world/reverse"].at(least=20, most=20).examples("test", 5)
    assert {len(e.answer) for e in longer} == {20}


def test_unknown_difficulty_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no difficulty key length: it has least, most"):
        TASKS["world/reverse"].at(length=4)


def test_a_difficulty_that_leaves_a_split_empty_is_refused():
    import random

    only = TASKS["world/subtract"].at(least=10, most=10)
    empty = next(split for split in SPLITS if split != split_of("subtract", "10-10"))
    with pytest.raises(ValueError, match="allow a wider range"):
        only.draft(random.Random(0), empty)


def test_splits_have_the_shares_that_they_state():
    found = [split_of("any", str(i)) for i in range(5000)]
    assert [round(found.count(split) / 5000, 1) for split in SPLITS] == [0.7, 0.1, 0.1, 0.1]


def test_the_split_of_a_content_never_changes():
    # written down once: a change here would put items that shipped models were trained on into the test split
    fixed = {
        ("reverse", "tapir"): "train",
        ("people", "fata.city"): "test",
        ("add", "34+57"): "test",
        ("chains", "8+5-2"): "train",
        ("multiply", "23*45"): "test",
    }
    assert {content: split_of(*content) for content in fixed} == fixed


def test_order_of_operands_does_not_change_the_split():
    for name in ("world/add", "world/multiply"):
        where = {}
        for split in SPLITS:
            for e in TASKS[name].examples(split, 400):
                numbers = tuple(sorted(e.prompt[0]["content"].split()[1:]))
                assert where.setdefault(numbers, split) == split
