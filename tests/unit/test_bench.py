"""The pure parts of the benches: exponents, medians, necessary operations, agreement, tables, docs/speed.md."""

from __future__ import annotations

import argparse
import json
from math import exp

import pytest
import torch

import tiny
from bench import sample, speed, training
from bench.common import flops, numbers, options, result, table, turns
from bench.common.machine import peak_bytes
from bench.common.turns import Ran, Side
from bench.sides import made, prepare, recipes
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine, Sampling
from scalpel.engine.cost_meter import matrix_parameters

SHAPE = flops.Shape(layer_parameters=100, head_parameters=10, layers=2, attended=3)


def step(seconds, **more):
    return {"seconds": seconds, "cpu": seconds, **more}


def ran(*steps, ours=True, name="scalpel", setting="default", **end):
    return Ran(Side(name, "m:f", {}, setting, ours=ours), list(steps), {"peak_bytes": 10**9, **end})


def found(**more):
    """A result as a bench writes it: we take 1 s and 3 s of warm-up, the peer 2 s at its best."""
    mine = ran(step(3.0), *[step(s, tokens=100, flops=5e9) for s in (0.9, 1.0, 1.3)], precision="all float32")
    best = ran(*[step(2.0, tokens=100, flops=5e9)] * 4, ours=False, name="TRL", setting="4×1")
    lean = ran(*[step(4.0)] * 2, ours=False, name="TRL", setting="1×4", peak_bytes=5 * 10**8)
    place = {
        "commit": "abc", "dirty": True, "versions": {"torch": "2"}, "cores": 2, "threads": 2, "device": "Some CPU",
        "peak": {"bfloat16": 1e10, "float32": 5e9},
    }  # fmt: skip
    runs = [result.run_of(mine, True), result.run_of(best, True), result.run_of(lean)]
    return result.result("sft", ["scripts/bench", "sft"], place, {"seed": 0}, runs, **more)


# --- numbers ----------------------------------------------------------------------------------------------


def test_a_power_law_gives_its_exponent_without_error():
    x = [1.0, 2.0, 4.0, 8.0]
    fit = numbers.growth(x, [3 * v**1.7 for v in x])
    assert fit.exponent == pytest.approx(1.7) and fit.error == pytest.approx(0.0, abs=1e-9)


def test_the_error_of_an_exponent_is_that_of_a_regression():
    # log x = 0, 1, 2 and log y = 0, 1.3, 2: slope 1, residuals ∓0.1, 0.2, ∓0.1, so √(0.06 / 1 / 2)
    fit = numbers.growth([1.0, exp(1), exp(2)], [1.0, exp(1.3), exp(2)])
    assert fit.exponent == pytest.approx(1.0) and fit.error == pytest.approx((0.06 / 2) ** 0.5)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0, 1, 2])])
def test_what_has_no_exponent_is_refused(x, y):
    with pytest.raises(ValueError, match="need three|all the same|must be positive"):
        numbers.growth(x, y)


def test_a_median_comes_with_its_spread_and_not_without_a_step():
    assert numbers.middle([3.0, 1.0, 2.0, 10.0]) == (2.5, 1.0, 10.0)
    with pytest.raises(ValueError, match="no measured step"):
        numbers.middle([])


# --- necessary operations ---------------------------------------------------------------------------------


def test_operations_by_hand():
    # 3 + 2 tokens: layers 2·100·5, head 2·10·2, pairs 1+2+3 + (3+1)+(3+2) = 15 at 4·2·3
    assert flops.forward(SHAPE, [(3, [2])]) == 1000 + 40 + 15 * 24
    assert flops.trained(SHAPE, [(3, [2])]) == 3 * 1400
    assert flops.trained(SHAPE, [(3, [2])], frozen=True) == 2 * 1400


def test_a_prompt_is_necessary_once_a_group():
    apart, together = flops.forward(SHAPE, [(5, [2]), (5, [2])]), flops.forward(SHAPE, [(5, [2, 2])])
    assert apart - together == 2 * 100 * 5 + flops.pairs(0, 5) * 24


def test_a_shape_counts_the_matrices_of_a_model():
    model = tiny.model()
    shape = flops.shape_of(model.config)
    assert shape.layer_parameters + shape.head_parameters == matrix_parameters(model)


@pytest.mark.parametrize(("kind", "passes"), [("sft", 3), ("lora", 2), ("dpo", 4), ("grpo", 4)])
def test_a_method_needs_its_passes(kind, passes):
    groups = [(3, [2, 2])]
    assert training.necessary(kind, SHAPE, groups) == passes * flops.forward(SHAPE, groups)


# --- the same work on both sides --------------------------------------------------------------------------

PLAN = {"shape": vars(SHAPE), "groups": [[(3, [2]), (3, [4])]] * 2}


def test_steps_that_train_what_was_planned_are_charged_for_it():
    done = training.account(ran(step(1.0, trained=6), step(1.0, trained=6)), PLAN, "sft")
    assert [s["tokens"] for s in done.steps] == [12, 12] and done.steps[0]["flops"] > 0


def test_a_side_that_trains_other_tokens_stops_the_bench():
    with pytest.raises(ValueError, match="step 2 of scalpel default trained 5 tokens instead of 6"):
        training.account(ran(step(1.0, trained=6), step(1.0, trained=5)), PLAN, "sft")


def test_sides_that_learn_something_else_stop_the_bench():
    def pair(loss, norm):
        return [ran(step(1.0, loss=2.0, gradient_norm=3.0)), ran(step(1.0, loss=loss, gradient_norm=norm))]

    training.agree("sft", "float32", pair(2.0001, 3.001))
    training.agree("lora", "float32", pair(2.0001, 9.0))  # adapters start at random
    for wrong in (pair(2.1, 3.0), pair(2.0, 3.5)):
        with pytest.raises(ValueError, match="different work"):
            training.agree("sft", "float32", wrong)


def test_rewards_of_another_policy_stop_the_bench():
    def side(*rewards):
        return ran(*[step(1.0, reward=r) for r in rewards])

    training.agree("grpo", "bfloat16", [side(2.0, 2.1, 1.9), side(2.1, 2.0, 2.2)])
    with pytest.raises(ValueError, match="different policies"):
        training.agree("grpo", "bfloat16", [side(2.0, 2.1, 1.9), side(4.0, 4.1, 3.9)])


@pytest.mark.parametrize(
    ("n", "wanted"),
    [
        (16, [(16, 1, False), (4, 4, False), (1, 16, False), (1, 16, True)]),
        (8, [(8, 1, False), (2, 4, False), (1, 8, False), (1, 8, True)]),
        (32, [(32, 1, False), (8, 4, False), (2, 16, False), (2, 16, True)]),
    ],
)
def test_the_peer_is_tried_whole_in_fours_and_lean(n, wanted):
    assert training.settings(n) == wanted


def test_settings_may_be_chosen_by_name_and_unknown_ones_are_refused():
    sides = [Side("TRL", "m:f", {}, setting) for setting in ("4×4", "1×16", "1×16 checkpointed")]
    asked = lambda *names: argparse.Namespace(settings=names)  # noqa: E731
    assert training.wanted(asked(), sides) == sides
    assert training.wanted(asked("1x16-checkpointed"), sides) == sides[2:]
    with pytest.raises(ValueError, match="8x2: for this batch there are 4x4, 1x16"):
        training.wanted(asked("8x2"), sides)


def test_uneven_lengths_have_the_stated_mean():
    lengths = sample.uneven(64, 128, seed=0)
    assert max(lengths) == 128 and min(lengths) == 1 and sum(lengths) / 64 == pytest.approx(0.4 * 128, rel=0.02)
    assert lengths != sorted(lengths) and lengths == sample.uneven(64, 128, seed=0)


def test_lengths_that_were_not_forced_stop_the_bench():
    with pytest.raises(ValueError, match="other lengths"):
        sample.account(ran(step(1.0, lengths=[2, 3])), [2, 4], [(3, [2]), (3, [4])], SHAPE)


def test_rows_are_met_once_and_fit():
    tokens = Tokens(tiny.tokenizer(None))
    rows = [{"prompt": p, "completion": c} for p, c in (("a", "b"), ("a", "c"), ("b", "b" * 50), ("cc", "d"))]
    picked = prepare.chosen(rows, 2, 5, tokens, 0, 1, seed=0)
    assert sorted(r["prompt"] for r in picked) == ["a", "cc"]
    assert prepare.group_of({"prompt": "cc", "completion": "d"}, tokens, 0, 1) == (2, [2])
    with pytest.raises(ValueError, match="2 rows of at most 5 tokens, but 3"):
        prepare.chosen(rows, 3, 5, tokens, 0, 1, seed=0)


def test_a_shorter_run_meets_the_rows_in_the_order_of_the_planned_one():
    asked = dict(kind="sft", model="m", rows="r", batch=4, max_length=9, device="cpu", dtype="float32",
                 precision="float32", seed=0, threads=1)  # fmt: skip
    whole, part = (recipes.recipe(**asked, steps=steps, steps_planned=6) for steps in (6, 2))
    assert whole.data == part.data and part.stages[0].steps == 2


# --- models that stop when told ---------------------------------------------------------------------------


def test_a_counting_model_s_completions_have_the_lengths_that_their_prompts_say(tmp_path):
    source = tiny.folder(tmp_path / "base", hidden_size=64, head_dim=32)
    place = made.counting(str(source), tmp_path / "counting")
    model, tokens = made.models.load(place)
    (stop,) = tokens.stop_ids
    engine = Engine(model, tokens)
    found = engine.sample([[9, 50, stop + n] for n in (1, 5, 12)], Sampling(max_tokens=20))
    assert [len(group[0].ids) for group in found] == [1, 5, 12]


def test_an_endless_model_never_stops(tmp_path):
    source = tiny.folder(tmp_path / "base")
    place = made.endless(str(source), tmp_path / "endless")
    model, tokens = made.models.load(place)
    with torch.no_grad():
        logits = model(torch.tensor([[9, 20, 30]])).logits[0, -1]
    (stop,) = tokens.stop_ids
    assert logits[stop] < logits.mean() and tokens.tokenizer.chat_template is None


# --- turns ------------------------------------------------------------------------------------------------


LIGHT = """
def side(turn, *, steps, fails, **other):
    turn()
    for k in range(steps):
        if fails:
            raise OSError("no such thing")
        print("what a library prints")
        turn(loss=k / 2)
    return {"other": other}
"""


@pytest.fixture
def light(tmp_path, monkeypatch):
    """A side that needs nothing."""
    (tmp_path / "light.py").write_text(LIGHT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return lambda name, **asked: Side(name, "light:side", {"steps": 2, "fails": False, **asked})


def test_sides_take_turns_and_report_each_in_a_process_of_its_own(light):
    said: list[str] = []
    done = turns.in_turns([light("a", x=1), light("b")], 2, threads=1, say=said.append)
    assert [words.split()[0] for words in said] == ["a", "b", "a", "b"]
    assert [s["loss"] for s in done[0].steps] == [0.0, 0.5] and all(s["seconds"] > 0 for s in done[1].steps)
    assert done[0].end["other"] == {"x": 1} and 10**6 < done[1].end["peak_bytes"] < 10**8


def test_a_side_that_fails_is_quoted(light):
    with pytest.raises(RuntimeError, match="(?s)a ended with 1.*OSError: no such thing"):
        turns.in_turns([light("a", fails=True)], 2, threads=1, say=lambda words: None)


def test_peak_memory_is_this_process_s():
    assert 10**7 < peak_bytes() < 10**11


def test_missing_data_is_said_with_the_place(tmp_path):
    with pytest.raises(ValueError, match=f"looked for a/b.jsonl in {tmp_path}.*--data"):
        options.data_file(tmp_path, "a/b.jsonl")


# --- tables and the page ----------------------------------------------------------------------------------


def test_a_table_compares_medians_with_the_peer_s_best():
    mine, best, lean = table.rows(found())
    assert mine == ("", "scalpel", "default", "1", "0.9–1.3", "100", "50%", "1.00 GB", "2.00×")
    assert best[-1] == lean[-1] == "" and lean[-2] == "500 MB"


def test_columns_that_nobody_fills_are_left_out():
    assert table.markdown(found()).splitlines()[0].startswith("| side | setting | s a step |")


def test_memory_is_compared_with_every_setting_of_the_peer_and_at_equal_ones():
    both = found()
    both["runs"].append(result.run_of(ran(step(2.0), step(2.0), setting="1×4", peak_bytes=25 * 10**7)))
    assert table.memory(both) == [
        "memory, scalpel at default over TRL at 4×1: 1.00×",
        "memory, scalpel at default over TRL at 1×4: 2.00×",
        "memory, scalpel at 1×4 over TRL at 1×4: 0.50×",
    ]


def test_a_result_is_read_back_as_it_was_written(tmp_path):
    path = result.file_of("sft", "Some CPU (TM) 9", tmp_path)
    assert path.name == "sft-some-cpu-tm-9.json"
    result.save(found(), path)
    assert result.load(tmp_path) == [found()] and json.loads(path.read_text())["runs"][0]["warmup"][0]["seconds"] == 3.0


def test_a_result_holds_no_place_of_this_machine(tmp_path):
    run = {"options": {"model": str(tmp_path / "model"), "micro": 4, "lengths": [1, 2]}, "setting": "1×16"}
    made = result.result("sft", ["scripts/bench sft", "--data", "/some/data"], {"cores": 2}, {"data": tmp_path}, [run])
    assert str(tmp_path) not in json.dumps(made) and made["command"] == "scripts/bench sft --data data"
    assert made["runs"] == [{**run, "options": {"model": "model", "micro": 4, "lengths": [1, 2]}}]


def test_the_page_says_where_a_result_comes_from():
    text = speed.page([found(notes=["a note"])])
    for said in (
        "`scripts/bench sft`",
        "commit abc with uncommitted changes",
        "seed 0",
        "3 measured steps",
        "- a note",
    ):
        assert said in text
    assert "scalpel: all float32" in text and "No result" not in text and "not quiet" not in text
    assert "not quiet (load 3.0 before" in speed.page([found(load_before=3.0)])


def test_the_speed_page_is_what_the_results_say():
    assert speed.PAGE.read_text(encoding="utf-8") == speed.page(result.load()), "scripts/bench speed"


def test_every_bench_has_a_title_and_every_title_a_bench():
    files = {p.stem for p in (turns.ROOT / "bench").glob("*.py")} - {"__init__", "training", "speed"}
    assert files == set(speed.TITLES)
