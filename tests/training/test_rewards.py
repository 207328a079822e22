"""What a user's reward function is told by the loop."""

from running import ran, tables

STEPS = """
def step(completions, trainer_state, log_metric, **columns):
    log_metric("told/step", trainer_state.global_step)
    log_metric("told/of", trainer_state.max_steps)
    log_metric("told/epoch", trainer_state.epoch)
    return [float(len(completion)) for completion in completions]
"""


def test_a_reward_function_is_told_how_far_the_run_is(at, tmp_path):
    (tmp_path / "told.py").write_text(STEPS)
    train = {"method": "grpo", "steps": 3, "batch": 2}
    recipe = tables(at, train, data={"items": 4, "rewards": [{"name": f"{tmp_path / 'told.py'}:step"}]})
    _, found = ran(recipe, tmp_path / "run")
    assert [(r["told/step"], r["told/of"], r["told/epoch"]) for r in found] == [(0, 3, 0.0), (1, 3, 0.5), (2, 3, 1.0)]
