"""Policy gradients: on-policy samples, weighted by advantages from their rewards."""

from typing import Any

from scalpel.methods.row import Row, by_hand, equal_to, one

# PPO's two signals. The value signal has no source: it trains on the batch of the signal before it.
PROXIMAL: list[dict[str, Any]] = [
    {
        "name": "policy",
        "source": "groups",
        "credit": ["gae"],
        "objective": {"name": "clipped-pg", "average": "token"},
        "updates_per_batch": 2,
    },
    {"name": "value", "objective": "value", "weight": 0.1},
]
BY_SEQUENCE: dict[str, Any] = {"name": "clipped-sequence-pg"}

LIKE_TRL = equal_to(
    "TRL's GRPOTrainer", "loss and gradients", "parity/test_policy_gradient.py::test_sequence_ratios_and_dapo_are_trl_s"
)

ROWS: dict[str, Row] = {
    "reinforce": Row(
        "REINFORCE with a moving-average baseline",
        "Williams 1992, Machine Learning 8, 229-256",
        {"signals": one({"name": "groups", "size": 1}, ["moving-baseline"], "nll"), "learning_rate": 1e-6},
        evidence=by_hand(
            "loss and gradients",
            "parity/test_policy_gradient.py::test_reinforce_is_the_mean_of_minus_reward_less_baseline_times_log_prob",
        ),
    ),
    "rloo": Row(
        "REINFORCE with a leave-one-out baseline",
        "Ahmadian et al. 2024, arXiv 2402.14740",
        {
            "signals": one(
                {"name": "groups", "size": 4},
                [{"name": "leave-one-out", "kl_beta": 0.03}],  # of TRL's run on TL;DR
                {**BY_SEQUENCE, "ratio": "product", "epsilon": 0.2, "epsilon_high": 0.2},
            ),
            "learning_rate": 1e-6,
        },
        evidence=equal_to(
            "TRL's RLOOTrainer",
            "loss and gradients",
            "parity/test_policy_gradient.py::test_rloo_is_trl_s_with_its_penalty_in_the_reward",
        ),
    ),
    "grpo": Row(
        "Group relative policy optimisation",
        "Shao et al. 2024, arXiv 2402.03300",
        {"signals": one("groups", ["group-zscore"], "clipped-pg"), "learning_rate": 1e-6},
        evidence=equal_to(
            "TRL's GRPOTrainer",
            "loss and gradients",
            "parity/test_trl.py::test_grpo_its_averages_and_its_penalty_are_trl_s",
        ),
    ),
    "dr-grpo": Row(
        "GRPO done right",
        "Liu et al. 2025, arXiv 2503.20783",
        {
            "signals": one("groups", ["group-mean"], {"name": "clipped-pg", "average": "constant"}),
            "learning_rate": 1e-6,
        },
        evidence=equal_to(
            "TRL's GRPOTrainer",
            "loss and gradients",
            "parity/test_trl.py::test_grpo_its_averages_and_its_penalty_are_trl_s",
        ),
    ),
    "dapo": Row(
        "Decoupled clip and dynamic sampling",
        "Yu et al. 2025, arXiv 2503.14476",
        {
            "signals": one(
                {"name": "groups", "size": 16, "rounds": 10, "overlong": 0.2},
                ["group-zscore"],
                {"name": "clipped-pg", "epsilon": 0.2, "epsilon_high": 0.28, "average": "token"},
            ),
            "learning_rate": 1e-6,
        },
        evidence=LIKE_TRL,
    ),
    "gspo": Row(
        "Group sequence policy optimisation",
        "Zheng et al. 2025, arXiv 2507.18071",
        {"signals": one("groups", ["group-zscore"], BY_SEQUENCE), "learning_rate": 1e-6},
        evidence=LIKE_TRL,
    ),
    "gspo-token": Row(
        "GSPO with token-level gradients",
        "Zheng et al. 2025, arXiv 2507.18071",
        {"signals": one("groups", ["group-zscore"], {**BY_SEQUENCE, "per_token": True}), "learning_rate": 1e-6},
        evidence=LIKE_TRL,
    ),
    "luspo": Row(
        "Length-unbiased sequence policy optimisation",
        "Liu et al. 2026, arXiv 2602.05261",
        {
            "signals": one("groups", ["group-zscore"], {**BY_SEQUENCE, "average": "constant", "length": 1}),
            "learning_rate": 1e-6,
        },
        evidence=LIKE_TRL,
    ),
    "grpo-d": Row(
        "GRPO with a dynamic KL coefficient",
        "Liu et al. 2025, arXiv 2503.16081",
        {
            "signals": one("groups", ["group-zscore"], "clipped-pg"),
            "anchors": [{"name": "kl", "estimator": "k3", "beta": {"from": 0.0, "to": 0.04}, "average": "sequence"}],
            "learning_rate": 1e-6,
        },
        evidence=equal_to(
            "TRL's GRPOTrainer",
            "loss and gradients halfway along the run",
            "parity/test_policy_gradient.py::test_a_dynamic_divergence_is_trl_s_at_its_strength_of_the_moment",
        ),
    ),
    "grpo-async": Row(
        "Asynchronous GRPO: off-policy samples with importance weights",
        "Noukhovitch et al. 2024, arXiv 2410.18252; Espeholt et al. 2018, arXiv 1802.01561",
        {
            "signals": one("groups", ["group-zscore", "importance"], "clipped-pg", lag=1),
            "learning_rate": 1e-6,
        },
        evidence=equal_to(
            "TRL's GRPOTrainer",
            "loss and gradients",
            "parity/test_policy_gradient.py::test_the_importance_correction_is_trl_s",
        ),
    ),
    "ppo": Row(
        "Proximal policy optimisation",
        "Schulman et al. 2017, arXiv 1707.06347",
        {"signals": PROXIMAL, "learning_rate": 1e-6},
        evidence=by_hand(
            "loss and gradients",
            "parity/test_policy_gradient.py::test_ppo_is_what_loops_over_tokens_say_of_weights_and_of_the_zero_head",
        ),
    ),
    "wsrl": Row(
        "PPO with a warm-up of the value head",
        "Zhou et al. 2024, arXiv 2412.07762",
        {"signals": PROXIMAL, "head_warmup": 0.1, "learning_rate": 1e-6},
        evidence=by_hand(
            "the loss is that of ppo",
            "training/test_policy_gradient.py::test_the_warm_start_is_a_row_that_differs_from_ppo_by_nothing_else",
        ),
    ),
}
