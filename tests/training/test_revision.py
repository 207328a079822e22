"""The rows of revision on the world, and words on their way from a reward function to a source."""

import pytest

from running import tables
from scalpel.config.merge import merge
from scalpel.config.recipe import parse
from scalpel.methods import ROWS
from scalpel.training.loop import train

FEW = {"size": 4, "proposals": 4, "tries": 4}
WORLD = {
    "leti": {"signals": {"0": {"source": {"size": 2}}, "1": {"source": {"documents": 4, "max_tokens": 8}}}},
    "rise": {"signals": {"0": {"source": {"sizes": [1, 4]}}}, "repeat": 1},
    "eef": {"signals": {"0": {"source": {"boundary": "[;,]", "states": 3, "size": 2, "imitate": False}}}},
    "int": {"signals": {"0": {"source": {"locate": "tried", "boundary": "[;,#]", "hard": 1.0, "reveal": True, **FEW}}}},
}


@pytest.mark.parametrize("method", sorted(WORLD))
def test_a_row_takes_a_step_on_the_world_s_worked_sums(method):
    stage = {"method": method, "steps": 1, "batch": 8, "sampling": {"max_tokens": 40}, **WORLD[method]}
    model, data = {"path": "world-300k", "device": "cpu"}, {"items": 16}
    task = "world/chains" if method == "int" else "world/multiply"
    records = []
    recipe = parse({"model": model, "task": {"name": task}, "data": data, "train": stage})
    train(recipe, tell=lambda record: records.append(record))
    assert len(records) == 1 + len(ROWS[method].before) + len(ROWS[method].after)
    own = records[len(ROWS[method].before)]
    assert own["stage"] == method and own["gradient_norm"] > 0


WORDS = """
def judge(completions, log_extra, **columns):
    log_extra("feedback", [None if k % 2 else f"say {len(text)}!" for k, text in enumerate(completions)])
    return [float(k % 2) for k, _ in enumerate(completions)]
"""


def test_what_a_reward_function_says_reaches_the_source_that_asks_for_it(at, tmp_path):
    (tmp_path / "words.py").write_text(WORDS)
    seen = []

    def watch(run, stage, state) -> bool:
        batch = run.rollout.draw(stage, stage.streams[0], 0, 0, 0.0)
        texts = [run.engine.tokens.tokenizer.decode(batch.ids_N[batch.seq_N == s].tolist()) for s in range(batch.S)]
        seen.extend(texts)
        return True

    source = {"name": "feedback-samples", "size": 2}
    signal = {"source": source, "credit": ["constant"], "objective": "nll"}
    train(tables(at, {"signals": [signal]}, data={"rewards": [f"{tmp_path / 'words.py'}:judge"]}), watch=watch)
    assert len(seen) == 8
    assert all(text.startswith("bad. say ") and "! " in text for text in seen[::2])
    assert all(text.startswith("good. ") and "say" not in text for text in seen[1::2])


def test_what_a_task_says_is_logged_beside_its_score(tmp_path):
    from scalpel.rewards import Rewards
    from scalpel.world.tasks.worked import MULTIPLY

    example = MULTIPLY.examples("train", 1)[0]
    scored = Rewards(["task"], MULTIPLY)([example] * 2, [example.completion or "", "1#1"], [[1], [2]])
    assert scored.extra["feedback"] == [None, "step 1 is wrong."]
    assert [(marks, marks.words) for marks in scored.marks] == [([1.0], ""), ([0.0], "step 1 is wrong.")]
    right = Rewards(["task"], MULTIPLY)([example], [example.completion or ""], [[1]])
    assert not right.extra and right.marks[0].words == ""


def test_an_instruction_hands_the_words_on():
    from scalpel.tasks import make

    task = make({"name": "world/multiply", "after": "So:"})
    example = task.examples("train", 1)[0]
    assert task.feedback("So: 1#1", example) == "step 1 is wrong."
    assert make({"name": "world/reverse", "after": "So:"}).feedback("x", example) == ""


def test_a_row_of_stages_starts_with_what_its_paper_starts_with():
    def stages(method):
        return parse({"model": "m", "task": {"name": "t"}, "train": {"method": method}}).stages

    assert [(s.name or s.method, s.signals[0].source.name) for s in stages("eef")] == [
        ("cloning", "beneficial-steps"),
        ("eef", "beneficial-steps"),
    ]
    assert stages("eef")[0].signals[0].source.hyper == {"states": 0}
    assert [s.name or s.method for s in stages("int")] == ["int", "grpo"]
    assert merge(ROWS["rise"].stage, {})["repeat"] == 2
