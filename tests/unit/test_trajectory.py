"""Trajectories: segments by their authors, and the rows that they become."""

from dataclasses import replace

import pytest

from scalpel.batch import DEMONSTRATION, ENVIRONMENT, POLICY, TEMPLATE, pack
from scalpel.data.example import Example
from scalpel.data.trajectory import Segment, Trajectory, completion, continued, demonstration
from scalpel.engine import Sample
from scalpel.rewards import Rewards
from scalpel.sources.acceptance import marks
from scalpel.sources.sampled import sample_row, trajectory_rows
from scalpel.training.completions import completion_rows

CALL = Segment(POLICY, (5, 3), (-0.5, -1.0), reward=0.25, stop_reason="stop")
OPEN, TOLD, ASK = Segment(TEMPLATE, (6,)), Segment(ENVIRONMENT, (9, 8)), Segment(TEMPLATE, (7,))
ANSWER = Segment(POLICY, (9, 3), (-2.0, -0.1), reward=0.5, stop_reason="stop")
EPISODE = Trajectory((1, 2), (CALL, OPEN, TOLD, ASK, ANSWER))
SPLIT = Trajectory((1, 2), (CALL, Segment(TEMPLATE, (1, 4, 6, 9, 8, 7), anew=True), ANSWER))


def test_an_episode_is_one_sequence_of_which_the_policys_tokens_are_trained():
    (row,) = trajectory_rows(EPISODE, Example("a"), 4, [1.0])
    assert row.ids == [1, 2, 5, 3, 6, 9, 8, 7, 9, 3]
    assert [i for i, trained in zip(row.ids, row.train, strict=True) if trained] == EPISODE.policy_ids == [5, 3, 9, 3]
    assert (
        row.author == [ENVIRONMENT] * 2 + [POLICY] * 2 + [TEMPLATE, ENVIRONMENT, ENVIRONMENT, TEMPLATE] + [POLICY] * 2
    )
    assert row.turn == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert row.behaviour == [0, 0, -0.5, -1.0, 0, 0, 0, 0, -2.0, -0.1]
    assert (row.group, row.rewards) == (4, [1.0])


def test_a_trajectory_whose_prompt_was_rendered_anew_is_a_sequence_a_turn_with_equal_rewards():
    first, second = rows = trajectory_rows(SPLIT, Example("a"), 4, [1.0])
    assert (first.ids, first.turn) == ([1, 2, 5, 3], [0] * 4)
    assert (second.ids, second.turn) == ([1, 4, 6, 9, 8, 7, 9, 3], [1] * 8)
    assert {(row.group, *row.rewards) for row in rows} == {(4, 1.0)}
    batch = pack(rows)
    assert batch.ids_N[batch.train_N].tolist() == SPLIT.policy_ids == EPISODE.policy_ids
    assert batch.behaviour_N[batch.train_N].tolist() == pytest.approx([-0.5, -1.0, -2.0, -0.1])


def test_a_verifier_judges_what_was_said_last():
    assert EPISODE.answer_ids == [9, 3]
    assert continued([5], completion([1, 5], [7, 3])).answer_ids == [5, 7, 3]


def test_what_was_given_is_marked_so_and_has_no_behaviour():
    whole = continued([5, 6], completion([1, 5, 6], [7, 3], [-1.0, -2.0]))
    row = sample_row(whole.prompt_ids, whole, Example("a"), 0)
    assert row.author == [ENVIRONMENT, DEMONSTRATION, DEMONSTRATION, POLICY, POLICY]
    assert row.train == [False, True, True, True, True] and row.behaviour == [0, 0, 0, -1.0, -2.0]
    assert continued([], whole) == whole
    with pytest.raises(AssertionError, match="after another prefix"):
        continued([4], completion([1, 5], [7]))
    assert whole.demonstrated().policy == [] and demonstration([4, 3]).finished


@pytest.mark.parametrize(("finished", "reason"), [(True, "stop"), (False, "length")])
def test_a_sample_is_a_trajectory_of_one_segment(finished, reason):
    made = Sample([5, 3], [-1.0, -2.0], finished).behind([1, 2])
    assert made == Trajectory((1, 2), (Segment(POLICY, (5, 3), (-1.0, -2.0), stop_reason=reason),))
    assert made.finished is finished and made.ids == [5, 3] and made.behaviour == [-1.0, -2.0]


def test_log_probs_are_as_many_as_ids():
    with pytest.raises(AssertionError, match="1 log-probs for 2 ids"):
        Segment(POLICY, (1, 2), (-1.0,))


def test_the_reward_environment_is_what_an_episode_earned():
    scored = Rewards(["environment"])([Example("a")], ["x"], [EPISODE.ids], trajectories=[EPISODE])
    assert scored.reward_S.tolist() == [0.75]


def rewards_of(tmp_path, code):
    (tmp_path / "own.py").write_text(code)
    return Rewards([f"{tmp_path}/own.py:f"])


def test_a_function_gets_all_messages_of_an_episode_and_trajectories_if_it_names_them(tmp_path):
    talk = [{"role": "assistant", "content": "1+1="}, {"role": "tool", "content": "2"}]
    talk.append({"role": "assistant", "content": "2"})
    chat = Example(({"role": "user", "content": "1+1"},), columns={"level": 3})
    played = Trajectory((1, 2), EPISODE.segments, tuple(talk))
    code = (
        "def f(completions, completion_ids, trajectories, level):\n"
        f"    assert completions == {[talk]!r} and completion_ids == [{EPISODE.ids}] and level == [3]\n"
        "    return [float(len(t.policy)) for t in trajectories]\n"
    )
    asked = ([chat], ["2"], [EPISODE.ids])
    assert rewards_of(tmp_path, code)(*asked, trajectories=[played]).reward_S.tolist() == [2.0]


def test_a_function_that_takes_all_columns_gets_no_trajectories(tmp_path):
    code = "def f(completions, **columns):\n    return [float('trajectories' in columns)]\n"
    assert rewards_of(tmp_path, code)([Example("a")], ["x"], [[1]]).reward_S.tolist() == [0.0]


def test_a_column_may_be_called_trajectories(tmp_path):
    code = "def f(completions, **columns):\n    return [float(columns['trajectories'][0])]\n"
    example = Example("a", columns={"trajectories": 7})
    assert rewards_of(tmp_path, code)([example], ["x"], [[1]]).reward_S.tolist() == [7.0]


def test_what_shapes_rewards_by_length_counts_what_was_said_and_not_what_the_environment_wrote():
    short, long = EPISODE, continued([5, 6], completion([1, 5, 6], [7, 3, 4, 3, 3]))
    rewards = Rewards(["environment", "brevity"])
    asked = ([Example("a")] * 2, ["x", "y"], [short.ids, long.ids])
    scored = rewards(*asked, groups=[0, 0], trajectories=[short, long])
    assert len(short.ids) > len(long.ids) and len(short.spoken_ids) < len(long.spoken_ids)
    assert scored.reward_SK[:, 1].tolist() == [0.5, -0.5]


def test_episodes_whose_calls_differ_are_not_alike_though_they_end_alike():
    other = Trajectory((1, 2), (replace(CALL, ids=(6, 3)), TOLD, ANSWER))
    said = marks("", lambda ids: str(list(ids)), [(EPISODE, [1.0]), (other, [1.0]), (SPLIT, [1.0])])
    assert said[0] != said[1] and said[0] == said[2]


def test_the_table_of_completions_has_all_messages_of_an_episode():
    talk = ({"role": "assistant", "content": "1+1="}, {"role": "tool", "content": "2"})
    scored = Rewards(["environment"])([Example("a")] * 2, ["x", "y"], [[1], [2]])
    episode, single = completion_rows([Example("a")] * 2, ["x", "y"], scored, [False] * 2, [0, 0], 2, [talk, ()])
    assert episode["messages"] == [dict(m) for m in talk] and "messages" not in single
