"""Supervised on what the model itself wrote."""

from scalpel.methods.row import Row, one

ROWS: dict[str, Row] = {
    "rejection-sampling": Row(
        "Rejection-sampling fine-tuning",
        "Yuan et al. 2023, arXiv 2308.01825",
        {"signals": one("accepted-samples", ["constant"], "nll"), "learning_rate": 1e-5},
    ),
}
