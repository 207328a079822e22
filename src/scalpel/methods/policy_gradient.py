"""Policy gradients: on-policy samples, weighted by advantages from their rewards."""

from typing import Any

from scalpel.methods.row import STEADY, Row, by_hand, equal_to, one

# PPO's two signals. The value signal has no source: it trains on the batch of the signal before it. Each batch is used
# for four epochs, as in Ziegler et al. 2019 (arXiv 1909.08593) and TRL's PPOConfig; InstructGPT has one, in 8 parts.
PROXIMAL: list[dict[str, Any]] = [
    {
        "name": "policy",
        "source": "groups",
        "credit": ["gae"],
        "objective": {"name": "clipped-pg", "average": "token"},
        "updates_per_batch": 4,
    },
    {"name": "value", "objective": "value", "weight": 0.1},
]
BY_SEQUENCE: dict[str, Any] = {"name": "clipped-sequence-pg"}

LIKE_TRL = equal_to(
    "TRL's GRPOTrainer", "loss and gradients", "parity/test_policy_gradient.py::test_sequence_ratios_and_dapo_are_trl_s"
)

ROWS: dict[str, Row] = {
    # A batch is learnt from once: the theorem is about samples of the present policy.
    "reinforce": Row(
        "REINFORCE with a moving-average baseline",
        "Williams 1992, Machine Learning 8, 229-256",
        {"signals": one({"name": "groups", "size": 1}, ["moving-baseline"], "nll"), **STEADY},
        evidence=by_hand(
            "loss and gradients",
            "parity/test_policy_gradient.py::test_reinforce_is_the_mean_of_minus_reward_less_baseline_times_log_prob",
        ),
    ),
    # One update a batch: the paper argues for REINFORCE without ratios and clips, which more updates would ask for.
    "rloo": Row(
        "REINFORCE with a leave-one-out baseline",
        "Ahmadian et al. 2024, arXiv 2402.14740",
        {
            "signals": one(
                {"name": "groups", "size": 4},
                [{"name": "leave-one-out", "kl_beta": 0.03}],  # of TRL's run on TL;DR
                {**BY_SEQUENCE, "ratio": "product", "epsilon": 0.2, "epsilon_high": 0.2},
            ),
            "reference": "start",
            **STEADY,
        },
        evidence=equal_to(
            "TRL's RLOOTrainer",
            "loss and gradients",
            "parity/test_policy_gradient.py::test_rloo_is_trl_s_with_its_penalty_in_the_reward",
        ),
    ),
    # One update a batch (section 4.2: "a single update following each exploration stage").
    "grpo": Row(
        "Group relative policy optimisation",
        "Shao et al. 2024, arXiv 2402.03300",
        {"signals": one("groups", ["group-zscore"], "clipped-pg"), **STEADY},
        evidence=equal_to(
            "TRL's GRPOTrainer",
            "loss and gradients",
            "parity/test_trl.py::test_grpo_its_averages_and_its_penalty_are_trl_s",
        ),
    ),
    # The authors' scripts (sail-sg/understand-r1-zero): 128 prompts of 8 samples, 128 samples an update, constant rate.
    "dr-grpo": Row(
        "GRPO done right",
        "Liu et al. 2025, arXiv 2503.20783",
        {
            "signals": one("groups", ["group-mean"], {"name": "clipped-pg", "average": "constant"}, mini_batches=8),
            **STEADY,
        },
        evidence=equal_to(
            "TRL's GRPOTrainer",
            "loss and gradients",
            "parity/test_trl.py::test_grpo_its_averages_and_its_penalty_are_trl_s",
        ),
    ),
    # Section 4.1 and the authors' run_dapo_qwen2.5_32b.sh: 512 prompts, 32 an update, a constant rate after 10 steps.
    "dapo": Row(
        "Decoupled clip and dynamic sampling",
        "Yu et al. 2025, arXiv 2503.14476",
        {
            "signals": one(
                {"name": "groups", "size": 16, "rounds": 10, "overlong": 0.2},
                ["group-zscore"],
                {"name": "clipped-pg", "epsilon": 0.2, "epsilon_high": 0.28, "average": "token"},
                mini_batches=16,
            ),
            **STEADY,
        },
        evidence=LIKE_TRL,
    ),
    # Section 5.1: each batch is split into four mini-batches; with one, every ratio is 1 and this is `grpo`.
    "gspo": Row(
        "Group sequence policy optimisation",
        "Zheng et al. 2025, arXiv 2507.18071",
        {"signals": one("groups", ["group-zscore"], BY_SEQUENCE, mini_batches=4), **STEADY},
        evidence=LIKE_TRL,
    ),
    # Where advantages don't differ by token, its value, its clip and its gradient are those of `gspo` (section 4.3).
    "gspo-token": Row(
        "GSPO with token-level gradients",
        "Zheng et al. 2025, arXiv 2507.18071",
        {
            "signals": one("groups", ["group-zscore"], {**BY_SEQUENCE, "per_token": True}, mini_batches=4),
            **STEADY,
        },
        evidence=LIKE_TRL,
    ),
    # The range of the clip is that of section 5.1, the number of mini-batches that of GSPO.
    "luspo": Row(
        "Length-unbiased sequence policy optimisation",
        "Liu et al. 2026, arXiv 2602.05261",
        {
            "signals": one(
                "groups",
                ["group-zscore"],
                {**BY_SEQUENCE, "epsilon": 2e-3, "epsilon_high": 2.5e-3, "average": "constant", "length": 1},
                mini_batches=4,
            ),
            **STEADY,
        },
        evidence=LIKE_TRL,
    ),
    # Neither code nor a number of updates a batch is published: one, as in GRPO.
    "grpo-d": Row(
        "GRPO with a dynamic KL coefficient",
        "Liu et al. 2025, arXiv 2503.16081",
        {
            "signals": one("groups", ["group-zscore"], "clipped-pg"),
            "anchors": [{"name": "kl", "estimator": "k3", "beta": {"from": 0.0, "to": 0.04}, "average": "sequence"}],
            "reference": "start",
            **STEADY,
        },
        evidence=equal_to(
            "TRL's GRPOTrainer",
            "loss and gradients halfway along the run",
            "parity/test_policy_gradient.py::test_a_dynamic_divergence_is_trl_s_at_its_strength_of_the_moment",
        ),
    ),
    # The rate falls linearly to zero in both sources: IMPALA's appendix, and the default of the trainers of
    # mnoukhov/async_rlhf, whose RLOO configuration has one update a batch.
    "grpo-async": Row(
        "Asynchronous GRPO: off-policy samples with importance weights",
        "Noukhovitch et al. 2024, arXiv 2410.18252; Espeholt et al. 2018, arXiv 1802.01561",
        {
            "signals": one("groups", ["group-zscore", "importance"], "clipped-pg", lag=1),
            "learning_rate": 1e-6,
            "schedule": "linear",
        },
        evidence=equal_to(
            "TRL's GRPOTrainer",
            "loss and gradients",
            "parity/test_policy_gradient.py::test_the_importance_correction_is_trl_s",
        ),
    ),
    # The rate is that of InstructGPT's PPO (arXiv 2203.02155, appendix C.4): constant after a short warm-up.
    "ppo": Row(
        "Proximal policy optimisation",
        "Schulman et al. 2017, arXiv 1707.06347",
        {"signals": PROXIMAL, **STEADY},
        evidence=by_hand(
            "loss and gradients",
            "parity/test_policy_gradient.py::test_ppo_is_what_loops_over_tokens_say_of_weights_and_of_the_zero_head",
        ),
    ),
    # Before the policy moves at all its values are learnt from samples of it, and from the whole return, λ = 1, then
    # and later; advantages keep λ = 0.95. The paper's value model is one of its own; here it is a head on the policy.
    "vc-ppo": Row(
        "Value-calibrated PPO: values that are learnt before the policy is, and from whole returns",
        "Yuan et al. 2025, arXiv 2503.01491",
        {
            "signals": [PROXIMAL[0], {**PROXIMAL[1], "objective": {"name": "value", "lam": 1.0}}],
            "head_warmup": 0.1,
            **STEADY,
        },
        evidence=by_hand(
            "the loss is that of ppo",
            "training/test_policy_gradient.py::test_calibrated_ppo_is_ppo_whose_values_learn_first_and_from_the_whole_return",
        ),
    ),
    # What transfers: rollouts of the frozen policy fill a buffer, nothing is updated until then, and no earlier data is
    # kept; then four updates for each batch of new samples, three of them on the buffer. What doesn't: a Q-function
    # from offline RL, which the warm-up is to recalibrate, and SAC's ensemble. Here a value head starts from zero,
    # advantages are PPO's, and importance weights correct for the age of samples.
    "wsrl": Row(
        "Warm-start RL: rollouts of the frozen policy fill a replay buffer before anything is updated",
        "Zhou et al. 2024, arXiv 2412.07762",
        {
            "signals": [
                {
                    "name": "policy",
                    "source": {"name": "buffered-groups", "replays": 3},
                    "credit": ["gae", "importance"],
                    "objective": {"name": "clipped-pg", "average": "token"},
                    "mini_batches": 4,
                },
                PROXIMAL[1],
            ],
            "learning_starts": 0.05,
            **STEADY,
        },
        evidence=by_hand(
            "nothing is updated in the warm-up; what the buffer keeps and gives; the loss is that of ppo",
            "training/test_policy_gradient.py::test_nothing_is_updated_before_learning_starts_and_the_frozen_policy_fills_the_buffer",
            "parts/test_shaping.py::test_new_groups_are_kept_once_and_come_back_whole_behind_the_new_ones_of_later_batches",
        ),
    ),
}
