"""Preference optimisation: pairs and labels."""

from scalpel.methods.row import Row, equal_to, one

ROWS: dict[str, Row] = {
    "dpo": Row(
        "Direct preference optimisation",
        "Rafailov et al. 2023, arXiv 2305.18290",
        {"signals": one("preference-pairs", ["constant"], "dpo"), "reference": "start", "learning_rate": 5e-7},
        evidence=equal_to("TRL's DPOTrainer", "loss and gradients", "parity/test_trl.py::test_dpo_is_trl_s"),
    ),
    "reward-model": Row(
        "Reward model from preference pairs",
        "Ouyang et al. 2022, arXiv 2203.02155",
        {
            "signals": one({"name": "preference-pairs", "train": "last"}, ["constant"], "bradley-terry"),
            "learning_rate": 1e-5,
        },
        evidence=equal_to(
            "TRL's RewardTrainer",
            "loss and gradients",
            "parity/test_reward_model.py::test_loss_and_gradients_are_trl_s",
        ),
    ),
    "kto": Row(
        "Kahneman-Tversky optimisation",
        "Ethayarajh et al. 2024, arXiv 2402.01306",
        {"signals": one("labelled", ["constant"], "kto"), "reference": "start", "learning_rate": 5e-7},
        evidence=equal_to(
            "TRL's KTOTrainer",
            "loss and gradients",
            "parity/test_trl.py::test_kto_is_trl_s_mismatched_answers_and_baseline_included",
        ),
    ),
}
