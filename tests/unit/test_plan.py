"""What assembling a stage refuses, always with a way out; and schedules of hyper-parameters."""

import pytest

from scalpel.batch import Row, pack
from scalpel.config.plan import assemble
from scalpel.config.recipe import parse
from scalpel.methods import ROWS
from scalpel.part import scheduled


def plan(train: dict, models: dict | None = None):
    recipe = parse({"model": "m", "task": {"name": "t"}, "train": train, "models": models or {}})
    return assemble(recipe.stages[0], recipe)


def signals(source="groups", credit=("group-zscore",), objective="clipped-pg", **more):
    return {"signals": [{"source": source, "credit": list(credit), "objective": objective, **more}]}


def under_a_floor(train: dict, **keep):
    sets = [{"name": "a", "task": {"name": "t"}}]
    recipe = parse({"model": "m", "task": {"name": "t"}, "train": train, "keep": {"sets": sets, **keep}})
    made = assemble(recipe.stages[0], recipe)
    signals = [signal for stream in made.streams for signal in stream.signals]
    return {(s.name, p.part.name) for s in signals for p in s.losses if (s.name, p) in made.steered}


def test_a_floor_pulls_with_its_own_anchor_on_its_own_text_and_leaves_others_to_the_gain():
    found = under_a_floor({"method": "grpo", "anchors": ["adaptive-kl"]})
    assert found == {("keep", "kl")}


def test_a_named_signal_is_steered_alone_and_a_named_anchor_wherever_it_acts():
    new, old = ({"name": n, "source": s, "objective": "nll"} for n, s in (("new", "demonstrations"), ("old", "replay")))
    train = {"signals": [new, old], "anchors": ["kl"]}
    assert under_a_floor(train, steer=["old"]) == {("old", "nll"), ("old", "kl")}
    assert under_a_floor(train, steer=["kl"]) == {("new", "kl"), ("old", "kl")}


@pytest.mark.parametrize("sets", [[], [{"name": "a"}], [{"name": "a", "kind": "answer", "task": {}}]])
def test_a_floor_without_a_keep_set_that_can_be_is_refused_before_a_model_is_loaded(sets):
    with pytest.raises(ValueError, match=r"keep set|keep\.sets\.0"):
        under_a_floor({"method": "sft"}, sets=sets)


@pytest.mark.parametrize("method", sorted(ROWS))
def test_every_row_assembles(method):
    assert plan({"method": method}, {"teacher": "t", "weak": "w"}).streams


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (signals(source="grups"), "unknown source 'grups': did you mean 'groups'"),
        (signals(objective="nil"), "unknown objective 'nil': did you mean 'nll'"),
        (signals(credit=["group-score"]), "unknown credit 'group-score': did you mean 'group-zscore'"),
        ({**signals(), "scope": "al"}, "unknown scope 'al': did you mean 'all'"),
        ({**signals(), "anchors": ["kk"]}, "unknown anchor 'kk'"),
        (signals(corrupt=["maskedthought"]), "unknown corruption 'maskedthought': did you mean 'masked-thought'"),
        (
            signals(objective={"name": "clipped-pg", "epsilonn": 1}),
            "objective 'clipped-pg' unknown key 'epsilonn': did you mean 'epsilon'",
        ),
        (signals(source={"name": "groups", "sise": 1}), "source 'groups' unknown key 'sise': did you mean 'size'"),
        ({**signals(), "scope": {"name": "hft", "rond": 2}}, "scope 'hft' unknown key 'rond': did you mean 'round'"),
    ],
)
def test_an_unknown_part_or_hyper_parameter_is_refused_with_the_nearest(train, words):
    with pytest.raises(ValueError) as error:
        plan(train)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (
            {"name": "clipped-pg", "epsilon": "0.2"},
            "'epsilon' of objective 'clipped-pg' is '0.2', but must be a number",
        ),
        ({"name": "clipped-pg", "epsilon": True}, "must be a number"),
        ({"name": "clipped-pg", "average": "tokens"}, "is 'tokens', but must be"),
        ({"name": "clipped-pg", "length": 1.5}, "must be an integer"),
        ({"name": "clipped-pg", "epsilon": {"from": 0.1}}, "needs both 'from' and 'to'"),
        ({"name": "clipped-pg", "epsilon": {"from": 0.1, "to": "x"}}, "must be a number"),
        ({"name": "clipped-pg", "epsilon": {"from": 0.1, "to": 1, "ovr": "cosine"}}, "did you mean 'over'"),
        ({"name": "clipped-pg", "epsilon": {"from": 0.1, "to": 1, "over": "cosin"}}, "did you mean 'cosine'"),
        ({"name": "clipped-pg", "average": {"from": 0.1, "to": 1}}, "only a real number can change"),
    ],
)
def test_a_hyper_parameter_of_the_wrong_kind_is_refused_before_anything_runs(objective, words):
    with pytest.raises(ValueError) as error:
        plan(signals(objective=objective))
    assert words in str(error.value)


@pytest.mark.parametrize("weight", [{"from": 0.0}, {"of": 1}, {"from": 0, "to": 1, "over": "sin"}])
def test_a_weight_that_is_no_schedule_is_refused(weight):
    with pytest.raises(ValueError, match="the weight of signal"):
        plan(signals(weight=weight))


@pytest.mark.parametrize(
    ("train", "reader", "field", "ways_out"),
    [
        (signals(source="demonstrations"), "credit 'group-zscore'", "'reward'", ["groups", "constant"]),
        (signals(credit=["constant"], objective="dpo"), "objective 'dpo'", "'pair'", ["preference-pairs", "nll"]),
        (signals(credit=["constant"], objective="kto"), "objective 'kto'", "'label'", ["labelled", "nll"]),
    ],
)
def test_a_part_whose_source_lacks_what_it_reads_is_refused_with_both_ways_out(train, reader, field, ways_out):
    with pytest.raises(ValueError) as error:
        plan(train)
    assert reader in str(error.value) and field in str(error.value)
    assert all(way in str(error.value) for way in ways_out)


def test_values_without_a_value_head_are_refused_with_what_brings_one():
    with pytest.raises(ValueError, match="on the same batch with objective 'value', or use another credit"):
        plan(signals(credit=["gae"]))


def test_a_missing_teacher_is_asked_for_by_name():
    with pytest.raises(ValueError, match=r"needs a 'teacher' model: name one under \[models\]"):
        plan({"method": "distill"})


def test_an_anchor_on_no_signal_is_refused_with_the_signals_there_are():
    with pytest.raises(ValueError, match="an anchor has on = 'polcy', but the stage has the signals policy, value"):
        plan({"method": "ppo", "anchors": [{"name": "kl", "on": "polcy"}]})


def test_an_anchor_acts_once_on_each_batch_however_many_signals_learn_from_it():
    def held(**train):
        return [[len(signal.anchors) for signal in stream.signals] for stream in plan(train).streams]

    assert held(method="ppo", anchors=["kl"]) == [[1, 0]]
    assert held(method="chord", anchors=["kl"]) == [[1], [1]]
    assert held(method="ppo", anchors=[{"name": "kl", "on": "value"}]) == [[0, 1]]


def test_a_signal_with_nothing_to_learn_is_refused():
    with pytest.raises(ValueError, match="neither an objective nor an anchor"):
        plan({"signals": [{"source": "demonstrations"}]})


def test_a_schedule_moves_from_one_end_to_the_other():
    linear, cosine = {"from": 1.0, "to": 3.0}, {"from": 1.0, "to": 3.0, "over": "cosine"}
    assert [scheduled(linear, p) for p in (0.0, 0.25, 1.0)] == [1.0, 1.5, 3.0]
    # half a cosine: (1 − cos(π/4)) / 2 = 0.14645 of the way at a quarter
    assert [scheduled(cosine, p) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1.0, 1.29289, 2.0, 3.0], abs=1e-5)
    assert scheduled(0.3, 0.5) == 0.3


def test_counts_follow_scheduled_hyper_parameters_and_the_whole_batch():
    bound = plan(signals(objective={"name": "clipped-pg", "average": "constant", "length": 10})).streams[0].signals[0]
    batch = pack([Row([1, 2, 3], [True] * 3, [0] * 3, rewards=[1.0]) for _ in range(4)])
    assert bound.objective.count(batch, 0.0) == 40.0  # sequences · length


def test_the_unit_of_a_flow_is_the_largest_that_a_part_needs_whole():
    assert plan({"method": "sft"}).streams[0].unit == "token"
    assert plan({"method": "grpo"}).streams[0].unit == "group"
    assert plan({"method": "dpo"}).streams[0].unit == "pair"
