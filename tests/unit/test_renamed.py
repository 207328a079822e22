"""Old names of recipe keys: read and said for one release, wherever they may stand."""

import pytest

from scalpel.config.recipe import parse
from scalpel.config.renamed import KEEP, SAMPLING, SIGNAL, STAGE, renamed

OLD = {
    "owned_rate": 5.0,
    "owned_first": 0.1,
    "checkpointing": True,
    "sampling": {"entropy": 0.5, "pace": 0.2},
    "keep": {"answer": 0.5, "rate": 2.0, "memory": 0.4, "most": 50.0},
    "signals": {"0": {"reuse": 3}},
}
BASE = {"model": {"path": "m"}, "task": {"name": "world/reverse"}}


def test_every_old_key_of_a_stage_means_what_its_new_one_does(caplog):
    stage = parse({**BASE, "train": {"method": "ppo", **OLD}}).stages[0]
    assert (stage.head_lr_multiplier, stage.head_warmup, stage.gradient_checkpointing) == (5.0, 0.1, True)
    assert (stage.sampling.target_entropy, stage.sampling.temperature_rate) == (0.5, 0.2)
    keep = stage.keep
    assert (keep.proportional_gain, keep.integral_gain, keep.ema, keep.max_strength) == (0.5, 2.0, 0.4, 50.0)
    assert stage.signals[0].updates_per_batch == 3
    (said,) = [message for message in caplog.messages if "has deprecated keys" in message]
    for names in (STAGE, SIGNAL, SAMPLING, KEEP):
        for old, new in names.items():
            assert f"{old} is {new} now" in said


def test_arms_and_what_they_share_are_read_alike(caplog):
    tables = {
        "compare": {"shared": {"sampling": {"entropy": 0.5}}, "arms": [{"name": "a", **OLD}]},
        "keep": {"rate": 1.0},
    }
    made = renamed(tables)
    assert made["compare"]["shared"]["sampling"] == {"target_entropy": 0.5}
    assert made["compare"]["arms"][0]["signals"]["0"] == {"updates_per_batch": 3}
    assert made["keep"] == {"integral_gain": 1.0} and tables["keep"] == {"rate": 1.0}
    assert "compare.arms.0.sampling.pace is temperature_rate now" in caplog.text


def test_new_names_are_left_alone_and_say_nothing(caplog):
    tables = {"train": {"head_warmup": 0.1, "anchors": [{"name": "kl", "memory": 3}], "sampling": {"max_tokens": 3}}}
    assert renamed(tables) == tables and not caplog.messages


def test_both_names_at_once_are_refused():
    with pytest.raises(ValueError, match="train has both head_warmup and owned_first.*leave out owned_first"):
        parse({**BASE, "train": {"method": "ppo", "owned_first": 0.1, "head_warmup": 0.2}})
