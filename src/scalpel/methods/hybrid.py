"""Hybrids: demonstrations and on-policy samples, in one batch or one after the other."""

from typing import Any

from scalpel.methods.row import STEADY, Row, by_hand, one

CONSTANT = {"average": "constant"}
UNCLIPPED = {"epsilon": 1e9}  # the authors' scripts: loss_remove_clip=True
OWN = {"name": "written-by", "author": "policy"}
GIVEN = {"name": "written-by", "author": "demonstration"}
LESS_IF_UNCERTAIN: dict[str, Any] = {"name": "entropy-weight", "scale": 0.5, "slope": -1.0}
MORE_IF_UNCERTAIN: dict[str, Any] = {"name": "entropy-weight", "scale": 0.1, "slope": 1.0}
# The entropy bonus of the authors' scripts (entropy_coeff = 0.001): over all tokens, demonstrated ones included.
EXPLORING: dict[str, Any] = {"name": "exploring", "objective": "entropy", "weight": 0.001}
BY_TOKEN = {"name": "clipped-pg", "average": "token"}
# The paper's rule: choose the temperature at which the entropy is about 0.3. It starts from the temperature that the
# authors found, and a controller keeps the entropy at that target.
ENTROPY_CONTROLLED = {"temperature": 0.85, "target_entropy": 0.3}


FIRST_HALF = {"over": "cosine", "until": 0.5}


def chord(policy: Any, imitation: Any, credit: str) -> list[dict[str, Any]]:
    """CHORD's loss (1 − μ) · L_policy + μ · L_imitation, each a mean over the tokens of its own batch; `policy` and
    `imitation` are the two weights, numbers or schedules."""
    return [
        *one("groups", ["group-zscore"], {"name": "clipped-pg", "average": "token"}, name="policy", weight=policy),
        *one("demonstrations", [credit], "nll", name="imitation", weight=imitation),
    ]


ROWS: dict[str, Row] = {
    # Four mini-batches a batch and a constant rate: the settings in the authors' prefix_rft_trainer.yaml. The
    # configurations of their runs are not published.
    "prefix-rft": Row(
        "Prefix-RFT",
        "Huang et al. 2025, arXiv 2507.01679",
        {
            "signals": [
                *one(
                    "prefix-groups",
                    ["group-mean", "top-entropy-prefix"],
                    {"name": "clipped-pg", "dual": 3.0, **CONSTANT},
                    mini_batches=4,
                ),
                EXPLORING,
            ],
            **STEADY,
        },
        evidence=by_hand(
            "gradients",
            "parity/test_hybrid.py::test_prefix_rft_s_gradient_is_dr_grpo_s_on_own_tokens_and_on_the_least_certain_of_the_prefixes",
        ),
    ),
    "ift": Row(
        "Intuitive fine-tuning",
        "Hua et al. 2024, arXiv 2405.11870",
        {
            "signals": one("demonstrations", ["constant"], "propagated-nll", corrupt=["guess-blend"]),
            "learning_rate": 5e-7,
            "optimizer": "rmsprop",
            "schedule": "cosine",
            "warmup": 0.15,
        },
        evidence=by_hand(
            "loss and gradients",
            "parity/test_hybrid.py::test_ift_blends_embeddings_with_its_greedy_guesses_and_propagates_losses",
        ),
    ),
    # The rate of the second stage is constant after a short warm-up, as in the paper (appendix C.4).
    "sft-then-rl": Row(
        "Supervised fine-tuning, then reinforcement learning",
        "Ouyang et al. 2022, arXiv 2203.02155",
        {"signals": one("groups", ["group-zscore"], "clipped-pg"), **STEADY},
        before=[{"method": "sft"}],
        evidence=by_hand(
            "its stages are those of sft and grpo",
            "parity/test_hybrid.py::test_rows_in_sequence_are_stages_and_the_last_keeps_its_entropy",
        ),
    ),
    # One update a batch: the authors train strictly on-policy (arXiv 2505.16400).
    "acereason": Row(
        "Supervised fine-tuning, then reinforcement learning at a target entropy",
        "Liu et al. 2025, arXiv 2506.13284",
        {
            "signals": one("groups", ["group-zscore"], BY_TOKEN),
            "sampling": ENTROPY_CONTROLLED,
            **STEADY,
        },
        before=[{"method": "sft"}],
        evidence=by_hand(
            "its stages are those of sft and grpo",
            "parity/test_hybrid.py::test_rows_in_sequence_are_stages_and_the_last_keeps_its_entropy",
        ),
    ),
    # Two mini-batches a batch: the authors' scripts have 128 prompts, 64 an update, and verl's constant rate.
    "luffy": Row(
        "Mixed-policy GRPO with policy shaping",
        "Yan et al. 2025, arXiv 2504.14945",
        {
            "signals": [
                {
                    "name": "own",
                    "source": "guided-groups",
                    "credit": ["group-mean", OWN],
                    "objective": {"name": "clipped-pg", **UNCLIPPED, **CONSTANT},
                    "mini_batches": 2,
                },
                {"name": "given", "credit": ["group-mean", GIVEN], "objective": {"name": "shaped-pg", **CONSTANT}},
                EXPLORING,
            ],
            **STEADY,
        },
        evidence=by_hand(
            "loss and gradients", "parity/test_hybrid.py::test_luffy_is_mixed_policy_grpo_with_shaped_demonstrations"
        ),
    ),
    "srft": Row(
        "Supervised reinforcement fine-tuning",
        "Fu et al. 2025, arXiv 2506.19767",
        {
            "signals": [
                {
                    "name": "imitation",
                    "source": "guided-groups",
                    "credit": [GIVEN, LESS_IF_UNCERTAIN],
                    "objective": {"name": "nll", "per": "demonstration"},
                },
                {
                    "name": "given",
                    "credit": ["group-zscore", GIVEN],
                    "objective": {"name": "shaped-pg", "shape": "probability", "per": "demonstration"},
                },
                {
                    "name": "right",
                    "credit": [{"name": "right-or-wrong", "wrong": 0.0}, OWN, MORE_IF_UNCERTAIN],
                    "objective": {"name": "nll", "per": "policy"},
                },
                {
                    "name": "wrong",
                    "credit": [{"name": "right-or-wrong", "right": 0.0}, OWN],
                    "objective": {"name": "nll", "per": "policy"},
                },
            ],
            **STEADY,
        },
        evidence=by_hand("loss and gradients", "parity/test_hybrid.py::test_srft_is_the_sum_of_its_four_terms"),
    ),
    # Its code builds on LUFFY's and has the same two mini-batches a batch and the same constant rate.
    "hpt": Row(
        "Hybrid post-training",
        "Lv et al. 2025, arXiv 2509.04419",
        {
            "signals": [
                {
                    "name": "reinforced",
                    "source": {"name": "guided-groups", "size": 9},
                    "credit": ["prefix-advantage", "pass-gate", OWN],
                    "objective": {"name": "clipped-pg", "per": "policy", **UNCLIPPED, **CONSTANT},
                    "mini_batches": 2,
                },
                {
                    "name": "supervised",
                    "credit": [{"name": "pass-gate", "side": "unsolved"}, GIVEN],
                    "objective": {"name": "nll", "per": "demonstration"},
                },
                # The bonus is for what is trained: own samples of solved prompts, demonstrations of the others.
                {**EXPLORING, "credit": ["pass-gate", OWN], "objective": {"name": "entropy", "per": "policy"}},
                {
                    **EXPLORING,
                    "name": "exploring-given",
                    "credit": [{"name": "pass-gate", "side": "unsolved"}, GIVEN],
                    "objective": {"name": "entropy", "per": "demonstration"},
                },
            ],
            "learning_rate": 5e-6,
            "schedule": "constant",
        },
        evidence=by_hand(
            "loss and gradients", "parity/test_hybrid.py::test_hpt_reinforces_what_is_solved_and_imitates_what_is_not"
        ),
    ),
    # One update a batch: in the authors' mix_chord.yaml (Trinity-RFT) a mini-batch is the whole batch.
    "chord-mu": Row(
        "CHORD with a decreasing weight of imitation",
        "Zhang et al. 2025, arXiv 2508.11408",
        {
            "signals": chord(
                {"from": 0.1, "to": 0.95, **FIRST_HALF}, {"from": 0.9, "to": 0.05, **FIRST_HALF}, "constant"
            ),
            **STEADY,
        },
        evidence=by_hand("loss and gradients", "parity/test_hybrid.py::test_chord_is_a_share_of_each_loss"),
    ),
    "chord": Row(
        "CHORD with token weights",
        "Zhang et al. 2025, arXiv 2508.11408",
        {"signals": chord(0.9, 0.1, "mid-probability"), **STEADY},
        evidence=by_hand("loss and gradients", "parity/test_hybrid.py::test_chord_is_a_share_of_each_loss"),
    ),
}
