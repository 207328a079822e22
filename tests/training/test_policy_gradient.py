"""What the loop does for policy gradients: samples ahead, heads that learn first, weighed weights, early words."""

import logging
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch

import tiny
from running import opened, tables, weights
from scalpel.engine.padded_forward import width_of
from scalpel.methods import ROWS
from scalpel.training.loop import train
from scalpel.training.reward_monitor import ENOUGH, RewardMonitor

ZERO = "def zero(completions, **columns):\n    return [0.0] * len(completions)\n"
ONE = "def one(completions, **columns):\n    return [1.0] * len(completions)\n"
BY_PROMPT = "def by_prompt(prompts, completions, **columns):\n    return [float(len(p) % 2) for p in prompts]\n"


def told(at, stage: dict, **over) -> list[dict]:
    records: list[dict] = []
    train(tables(at, stage, **over), tell=lambda record: records.append(dict(record)))
    return records


def warned(at, caplog, words: str, method: str, steps: int = ENOUGH + 1) -> list[str]:
    """The warnings of a run under this reward function, but for those of samples that are cut off, as these all are."""
    name = words.split("(")[0].removeprefix("def ")
    (at / f"{name}.py").write_text(words)
    with caplog.at_level(logging.WARNING, "scalpel"):
        told(at, {"method": method, "steps": steps, "batch": 2}, data={"rewards": [f"{at / name}.py:{name}"]})
    return [r.message for r in caplog.records if r.name == "scalpel" and "cut off" not in r.message]


@pytest.mark.parametrize("method", ["grpo", "reinforce", "rloo"])
def test_rewards_that_never_differ_are_said_once_early_with_the_pass_rate_and_the_way_out(at, caplog, method):
    (said,) = warned(at, caplog, ZERO, method)
    assert f"after {ENOUGH} steps" in said and "never differed" in said and "pass rate 0%" in said
    assert all(way in said for way in ("'prefix-rft'", "easier items", "higher temperature (now 1)"))


def test_where_all_is_solved_harder_items_are_the_way_out(at, caplog):
    (said,) = warned(at, caplog, ONE, "grpo")
    assert "pass rate 100%" in said and "harder items" in said and "prefix-rft" not in said


def test_rewards_that_differ_between_prompts_alone_teach_groups_nothing_but_single_samples_something(at, caplog):
    (said,) = warned(at, caplog, BY_PROMPT, "grpo")
    assert "never differed within any group" in said
    caplog.clear()
    assert warned(at, caplog, BY_PROMPT, "reinforce") == []


def test_nothing_is_said_where_rewards_differ_or_nobody_compares_them(at, caplog):
    with caplog.at_level(logging.WARNING, "scalpel"):
        told(at, {"method": "grpo", "steps": ENOUGH + 1})
        told(at, {"method": "sft", "steps": ENOUGH + 1})
    assert all("cut off" in record.message for record in caplog.records)
    assert warned(at, caplog, ZERO, "grpo", steps=ENOUGH - 1) == []


def test_what_was_seen_of_rewards_survives_a_checkpoint():
    spread, again = RewardMonitor("groups", "group"), RewardMonitor("groups", "group")
    again.restore(spread.state())
    assert again == spread
    spread.note([[[1.0], [float("nan")], [0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    again.restore(spread.state())
    assert again == spread and again.differed and (again.least, again.most, again.samples) == (0.0, 1.0, 4)
    assert again.unrewarded == 1


STILL = {"learning_rate": 1e-12, "steps": 4}


def test_a_source_that_is_ahead_draws_the_same_batches_from_older_weights(at):
    fresh, ahead = (told(at, {"method": "grpo", "signals": {"0": {"lag": lag}}, **STILL}) for lag in (0, 2))
    assert [r["reward"] for r in fresh] == [r["reward"] for r in ahead]  # weights that stand still write the same
    assert fresh[-1]["tokens_sampled"] == ahead[-1]["tokens_sampled"]  # none is drawn that is never learnt from
    assert ahead[0]["tokens_sampled"] > 2 * fresh[0]["tokens_sampled"]


@pytest.mark.parametrize("lag", [0, 1])
def test_samples_are_as_old_as_the_lag_says_and_the_correction_sees_it(at, lag):
    records = told(at, {"method": "grpo-async", "steps": 5, "signals": {"0": {"lag": lag}}})
    old = [abs(record["staleness"]) for record in records if "staleness" in record]
    assert len(old) >= 4 and old[0] < 1e-5
    assert all((staleness > 1e-5) == bool(lag) for staleness in old[1:])


def test_what_parts_own_learns_first_and_the_policy_stands_still_meanwhile(at):
    heads, models = [], []

    def watch(run, stage, state) -> bool:
        models.append(weights(run))
        heads.append({name: p.detach().clone() for name, p in stage.owned.named_parameters()})
        return False

    train(tables(at, {"method": "vc-ppo", "head_warmup": 0.5, "steps": 6}), watch=watch)
    unmoved = [all(torch.equal(a[n], b[n]) for n in a) for a, b in zip(models, models[1:], strict=False)]
    assert unmoved == [True] * 3 + [False] * 3
    assert all(any(not torch.equal(a[n], b[n]) for n in a) for a, b in zip(heads, heads[1:], strict=False))


def test_a_warm_start_of_nothing_is_refused_before_a_model_is_loaded(run):
    with pytest.raises(ValueError, match="head_warmup is 0.5, but no part .* leave it out, or add a signal with"):
        opened(run, {"method": "grpo", "head_warmup": 0.5})


def test_calibrated_ppo_is_ppo_whose_values_learn_first_and_from_the_whole_return():
    warm, ppo = deepcopy(dict(ROWS["vc-ppo"].stage)), deepcopy(dict(ROWS["ppo"].stage))
    assert warm.pop("head_warmup") > 0
    assert warm["signals"][1].pop("objective") == {"name": "value", "lam": 1.0}
    assert ppo["signals"][1].pop("objective") == "value"
    assert warm == ppo


WARM = {"method": "wsrl", "steps": 8, "learning_starts": 0.4, "warmup": 0.0}


def test_nothing_is_updated_before_learning_starts_and_the_frozen_policy_fills_the_buffer(at):
    models, kept, records = [], [], []

    def watch(run, stage, state) -> bool:
        heads = {name: p.detach().clone() for name, p in stage.owned.named_parameters()}
        models.append({**weights(run), **heads})
        kept.append(len(stage.streams[0].plan.source.memory.state["kept"]))
        if state.step <= 4:
            assert not stage.optimiser.state
        return False

    train(tables(at, {**WARM, "anchors": ["l2"]}), watch=watch, tell=lambda record: records.append(dict(record)))
    same = [all(torch.equal(a[n], b[n]) for n in a) for a, b in zip(models, models[1:], strict=False)]
    # a batch of four prompts has four mini-batches; the second one has the four groups that are kept beside four new
    assert same == [True] * 4 + [False] * 4 and kept == [0, 1, 2, 3, 4, 6, 8, 8, 8]
    assert [r["gradient_norm"] > 0 for r in records] == [False] * 4 + [True] * 4
    assert records[3]["tokens_sampled"] == records[0]["tokens_sampled"] < records[4]["tokens_sampled"]
    assert abs(records[4]["staleness"]) < 1e-5  # what the buffer holds was written by the policy as it still is


def test_learning_that_starts_late_is_refused_where_nothing_is_kept_until_then(run):
    with pytest.raises(ValueError, match=r"learning_starts is 0.5, .*take a source that does \(buffered-groups, repl"):
        opened(run, {"method": "grpo", "learning_starts": 0.5})


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"source": {"name": "groups", "size": 2}, "texts": 2},
        {"source": "demonstrations", "texts": 5},
        {"source": "replay", "task": {"name": "world/facts"}, "texts": 5},
    ],
    ids=["its own text", "its own answers", "given data", "old data"],
)
def test_elastic_weights_are_weighed_before_the_first_step_on_any_source(run, keys):
    anchor = {"name": "elastic", "texts": 3, **keys}
    stage = opened(run, {"method": "sft", "anchors": [anchor]})
    (bound,) = stage.plan.on_parameters
    fisher = bound.memory.state
    assert fisher.keys() == {m.name for m in stage.scope.trainables}
    assert all(bool((f >= 0).all()) and bool(torch.isfinite(f).all()) for f in fisher.values())
    assert sum(float(f.sum()) for f in fisher.values()) > 0
    assert all(p.grad is None for p in run.engine.model.parameters())


def test_what_begins_to_move_later_is_weighed_then_and_what_was_weighed_stays(at):
    seen: list[dict] = []

    def watch(run, stage, state) -> bool:
        seen.append(dict(stage.plan.on_parameters[0].memory.state))
        assert {m.name for m in stage.scope.trainables} <= seen[-1].keys()
        return False

    scope = {"name": "hft", "round": 1}
    train(tables(at, {"method": "sft", "scope": scope, "anchors": [{"name": "elastic", "texts": 2}]}), watch=watch)
    assert len(seen[-1]) > len(seen[0])
    assert all(torch.equal(seen[0][name], seen[-1][name]) for name in seen[0])


def test_elastic_weights_hold_what_answers_depend_on_more_than_the_rest(at):
    moved = {}
    for name, strength in (("free", 0.0), ("held", 1e3)):
        run = train(
            tables(
                at, {"method": "sft", "steps": 8, "anchors": [{"name": "elastic", "strength": strength, "texts": 32}]}
            )
        )
        home = {n: p.detach() for n, p in tiny.model().named_parameters()}
        moved[name] = {n: (p - home[n]).abs() for n, p in weights(run).items()}
        fisher = run.plans[0].on_parameters[0].memory.state
    weighed = torch.cat([f.flatten() for f in fisher.values()])
    free, held = (torch.cat([moved[name][n].flatten() for n in fisher]) for name in ("free", "held"))
    top = weighed >= weighed.quantile(0.9)
    assert float(held[top].mean()) < 0.5 * float(free[top].mean())
    assert float((held / free.clamp(min=1e-9))[top].median()) < float((held / free.clamp(min=1e-9))[~top].median())


def test_texts_that_there_are_none_of_are_said_with_the_alternatives(run):
    anchor = {"name": "elastic", "source": {"name": "accepted-samples", "threshold": 9.0}, "texts": 2}
    with pytest.raises(ValueError, match="gave none: set more `texts`, another `source`.* or take anchor 'l2'"):
        opened(run, {"method": "sft", "anchors": [anchor]})


def test_a_source_of_elastic_weights_that_is_unknown_is_refused_with_the_nearest(run):
    with pytest.raises(ValueError, match="self-writen.*did you mean 'self-written'"):
        opened(run, {"method": "sft", "anchors": [{"name": "elastic", "source": "self-writen"}]})


def test_a_value_head_is_as_wide_as_what_the_model_s_head_reads():
    assert width_of(tiny.model(), "value") == 16
    narrow = SimpleNamespace(get_output_embeddings=lambda: torch.nn.Linear(12, 99))  # projected before its head
    assert width_of(narrow, "value") == 12  # type: ignore[arg-type]


def test_a_model_that_cannot_carry_a_value_head_is_refused_with_methods_that_need_none():
    headless = SimpleNamespace(get_output_embeddings=lambda: None)
    with pytest.raises(ValueError, match="no linear head .* value head .* such as grpo or rloo"):
        width_of(headless, "value")  # type: ignore[arg-type]


def test_an_adaptive_divergence_grows_stronger_while_the_policy_is_further_than_its_target(at):
    anchors = [{"name": "adaptive-kl", "target": 1e-6, "rate": 1.0, "beta": 0.5}]
    records = told(at, {"method": "sft", "steps": 5, "anchors": anchors})
    # at home the divergence is 0 and β falls by a fifth; from then on it is above the target and grows by one
    assert [r["kl_beta"] for r in records] == pytest.approx([0.5, 0.4, 0.48, 0.576, 0.6912])
