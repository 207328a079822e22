"""Preference optimisation: pairs and labels."""

from scalpel.methods.row import Row, one

ROWS: dict[str, Row] = {
    "dpo": Row(
        "Direct preference optimisation",
        "Rafailov et al. 2023, arXiv 2305.18290",
        {"signals": one("preference-pairs", ["constant"], "dpo"), "learning_rate": 5e-7},
    ),
    "reward-model": Row(
        "Reward model from preference pairs",
        "Ouyang et al. 2022, arXiv 2203.02155",
        {
            "signals": one({"name": "preference-pairs", "train": "last"}, ["constant"], "bradley-terry"),
            "learning_rate": 1e-5,
        },
    ),
    "kto": Row(
        "Kahneman-Tversky optimisation",
        "Ethayarajh et al. 2024, arXiv 2402.01306",
        {"signals": one("labelled", ["constant"], "kto"), "learning_rate": 5e-7},
    ),
}
