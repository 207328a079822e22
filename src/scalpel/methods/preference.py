"""Preferences: pairs and labels."""

from scalpel.methods.row import Row, one

ROWS: dict[str, Row] = {
    "dpo": Row(
        "Direct preference optimisation",
        "Rafailov et al. 2023, arXiv 2305.18290",
        {"signals": one("preference-pairs", ["constant"], "dpo"), "learning_rate": 5e-7},
    ),
    "kto": Row(
        "Kahneman-Tversky optimisation",
        "Ethayarajh et al. 2024, arXiv 2402.01306",
        {"signals": one("labelled", ["constant"], "kto"), "learning_rate": 5e-7},
    ),
}
