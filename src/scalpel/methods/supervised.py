"""Supervised learning from given text."""

from scalpel.methods.row import Row, by_hand, equal_to, one

ROWS: dict[str, Row] = {
    "sft": Row(
        "Supervised fine-tuning",
        "Wei et al. 2021, arXiv 2109.01652",
        {"signals": one("demonstrations", ["constant"], "nll"), "learning_rate": 2e-5},
        evidence=equal_to("TRL's SFTTrainer", "loss and gradients", "parity/test_trl.py::test_sft_and_dft_are_trl_s"),
    ),
    "dft": Row(
        "Dynamic fine-tuning",
        "Wu et al. 2025, arXiv 2508.05629",
        {"signals": one("demonstrations", ["own-probability"], "nll"), "learning_rate": 5e-5},
        evidence=equal_to("TRL's SFTTrainer", "loss and gradients", "parity/test_trl.py::test_sft_and_dft_are_trl_s"),
    ),
    "masked-thought": Row(
        "Masked thought fine-tuning",
        "Chen et al. 2024, arXiv 2403.02178",
        {
            "signals": one(
                "demonstrations",
                ["constant"],
                "nll",
                corrupt=[{"name": "masked-thought", "rate": {"from": 0.0, "to": 0.4, "until": 0.66}}],
            ),
            "learning_rate": 1e-5,
        },
        evidence=by_hand(
            "loss and gradients",
            "parity/test_supervised.py::test_masked_thought_is_cross_entropy_behind_an_answer_with_holes",
        ),
    ),  # fmt: skip
    "distill": Row(
        "Distillation from a teacher's whole distribution",
        "Hinton et al. 2015, arXiv 1503.02531",
        {"signals": one("demonstrations", ["constant"], "distillation"), "learning_rate": 2e-5},
        evidence=by_hand(
            "loss and gradients",
            "parity/test_supervised.py::test_distillation_is_the_divergence_of_the_softened_distributions",
        ),
    ),
}
