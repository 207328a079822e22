"""Shaping: filters and auxiliary rewards for policy gradients, and sampling in proportion to reward (GFlowNets)."""

from typing import Any

from scalpel.methods.row import STEADY, Row, by_hand, one


def flow(objective: dict[str, Any]) -> dict[str, Any]:
    """A stage that trains the policy to sample as the reference does, each answer weighed by its reward: the prior is
    in the objective's defaults. No code is published; the rate falls as in RL4VLM (arXiv 2405.10292), which has the
    same tasks: with a cosine, from 1e-5 to nearly zero."""
    signals = one("groups", ["constant"], objective)
    return {"signals": signals, "reference": "start", "learning_rate": 1e-5, "schedule": "cosine"}


# What the authors' script of Memory-R sets for the optimiser, beside the divergence that TRL had by default then.
REMEMBERING: dict[str, Any] = {
    "learning_rate": 5e-6,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip": 0.1,
    "weight_decay": 0.1,
    "betas": [0.9, 0.99],
}
# There a right answer in the right form earns 3 (1 for the answer, 4 × ½ for forms), and each of the two memories pays
# at most 1. Here a right answer earns 1, so that each memory pays at most a third of it: with a weight of 1 the two
# together would pay more for a wrong answer than is paid for a right one.
SHARE = round(1 / 3, 3)
CLASSES: dict[str, Any] = {"name": "groups", "size": 4}
K3_PENALTY: dict[str, Any] = {
    "anchors": [{"name": "kl", "estimator": "k3", "beta": 0.04, "average": "sequence"}],
    "reference": "start",
}
# The authors' scripts of CLS-RL (minglllli/CLS-RL) set no schedule, and that of their trainer is linear.
CLASSIFYING: dict[str, Any] = {**K3_PENALTY, "learning_rate": 1e-6, "schedule": "linear"}

BALANCED = by_hand(
    "loss and gradients; the optimum of the row, by enumeration",
    "parity/test_shaping.py::test_balance_is_what_double_loops_say_of_weights_and_of_the_zero_head",
    "parity/test_shaping.py::test_the_optimum_of_the_row_succeeds_and_its_loss_is_zero_there",
)

ROWS: dict[str, Row] = {
    "rorecomp": Row(
        "Rollout response recomposition",
        "Li et al. 2025, arXiv 2509.25958",
        {
            "signals": one("replayed-groups", ["group-zscore", "recompose"], "clipped-pg"),
            **STEADY,
        },
        evidence=by_hand(
            "loss and gradients",
            "parity/test_shaping.py::test_rorecomp_is_grpo_over_short_right_and_long_wrong_samples",
        ),
    ),
    "mrt": Row(
        "Meta reinforcement fine-tuning",
        "Qu et al. 2025, arXiv 2503.07572",
        {
            "signals": one(
                {"name": "probed-groups", "begun": True, "episodes": 1},
                [{"name": "progress", "alpha": 0.0, "baseline": "start"}],
                {"name": "clipped-pg", "average": "constant"},
            ),
            **STEADY,
        },
        evidence=by_hand(
            "loss and gradients",
            "parity/test_shaping.py::test_mrt_weighs_a_continuation_by_its_reward_less_that_of_stopping_at_once",
        ),
    ),
    "mrt-online": Row(
        "Meta reinforcement fine-tuning with a progress reward for each episode of the policy's own reasoning",
        "Qu et al. 2025, arXiv 2503.07572",
        {
            "signals": one("probed-groups", ["progress"], {"name": "clipped-pg", "average": "constant"}),
            **STEADY,
        },
        evidence=by_hand(
            "the reward for progress",
            "parity/test_shaping.py::test_the_progress_of_an_episode_is_what_it_adds_to_the_success_of_forced_answers",
        ),
    ),
    "mrt-star": Row(
        "Meta reinforcement fine-tuning by imitation of own answers that make progress",
        "Qu et al. 2025, arXiv 2503.07572",
        {"signals": one("probed-groups", ["made-progress"], "nll"), "learning_rate": 1e-5},
        evidence=by_hand(
            "which answers are kept",
            "parity/test_shaping.py::test_the_progress_of_an_episode_is_what_it_adds_to_the_success_of_forced_answers",
        ),
    ),
    "memory-r": Row(
        "Memory-R: GRPO with an episodic reward for similarity to earlier successes",
        "Le et al. 2025, arXiv 2504.02273",
        {
            "signals": one(
                {"name": "groups", "size": 16},
                ["group-zscore"],
                "clipped-pg",
                rewards=["data", {"name": "episodic", "weight": SHARE, "explore": 0.0}],
            ),
            **K3_PENALTY,
            **REMEMBERING,
        },
        evidence=by_hand(
            "the episodic reward, and how much of it is paid",
            "parity/test_shaping.py::test_what_the_row_pays_from_memory_is_never_as_much_as_a_right_answer_earns",
            "parity/test_shaping.py::test_an_answer_is_paid_for_nearness_to_successes_and_distance_from_failures",
        ),
    ),
    "memory-r-plus": Row(
        "Memory-R+: GRPO with an episodic reward for similarity to successes and distance from failures",
        "Le et al. 2025, arXiv 2504.02273",
        {
            "signals": one(
                {"name": "groups", "size": 16},
                ["group-zscore"],
                "clipped-pg",
                rewards=["data", {"name": "episodic", "weight": SHARE, "warmup": 50}],
            ),
            **K3_PENALTY,
            **REMEMBERING,
        },
        evidence=by_hand(
            "the episodic reward, and how much of it is paid",
            "parity/test_shaping.py::test_what_the_row_pays_from_memory_is_never_as_much_as_a_right_answer_earns",
            "parity/test_shaping.py::test_an_answer_is_paid_for_nearness_to_successes_and_distance_from_failures",
            "parity/test_shaping.py::test_exploring_is_paid_only_after_the_warm_up_and_old_answers_are_forgotten",
        ),
    ),
    "rif": Row(
        "GRPO on prompts that the policy sometimes solves: rollout-based instance filtering",
        "Lai et al. 2025, arXiv 2507.05386",
        {"signals": one("groups", ["group-zscore"], "clipped-pg", select="learnable"), **STEADY},
        evidence=by_hand(
            "which prompts are kept",
            "parts/test_shaping.py::test_prompts_are_kept_by_how_many_of_their_samples_are_right",
        ),
    ),
    "cls-rl": Row(
        "Classification by reinforcement learning, with reasoning before the answer",
        "Li et al. 2025, arXiv 2503.16188",
        {
            "signals": one(CLASSES, ["group-zscore"], "clipped-pg", rewards=["think-format", "think-answer"]),
            **CLASSIFYING,
        },
        evidence=by_hand(
            "the rewards, but for math-verify, which the authors' code tries first; the loss is that of grpo",
            "unit/test_shaping_rewards.py::test_a_form_is_judged_as_it_says",
        ),
    ),
    "cls-rl-no-thinking": Row(
        "Classification by reinforcement learning, the answer alone",
        "Li et al. 2025, arXiv 2503.16188",
        {
            "signals": one(CLASSES, ["group-zscore"], "clipped-pg", rewards=["verbatim"]),
            **CLASSIFYING,
        },
        evidence=by_hand(
            "the rewards; the loss is that of grpo", "unit/test_shaping_rewards.py::test_a_form_is_judged_as_it_says"
        ),
    ),
    "gflow-tb": Row(
        "Samples of the reference in proportion to reward, by trajectory balance",
        "Kang et al. 2025, arXiv 2503.06514",
        flow({"name": "tb"}),
        evidence=BALANCED,
    ),
    "gflow-subtb": Row(
        "Samples of the reference in proportion to reward, by sub-trajectory balance",
        "Kang et al. 2025, arXiv 2503.06514",
        flow({"name": "subtb"}),
        evidence=BALANCED,
    ),
    "gflow-db": Row(
        "Samples of the reference in proportion to reward, by detailed balance",
        "Kang et al. 2025, arXiv 2503.06514",
        flow({"name": "db"}),
        evidence=BALANCED,
    ),
}
