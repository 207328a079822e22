"""Shaping: filters and auxiliary rewards for policy gradients, and sampling in proportion to reward (GFlowNets)."""

from typing import Any

from scalpel.methods.row import Row, one


def flow(objective: dict[str, Any]) -> dict[str, Any]:
    """A stage that trains the policy to sample in proportion to reward."""
    return {"signals": one("groups", ["constant"], objective), "learning_rate": 1e-5}


CLASSES: dict[str, Any] = {"name": "groups", "size": 4}
K3_PENALTY: list[dict[str, Any]] = [{"name": "kl", "estimator": "k3", "beta": 0.04, "average": "sequence"}]

ROWS: dict[str, Row] = {
    "rorecomp": Row(
        "Rollout response recomposition",
        "Li et al. 2025, arXiv 2509.25958",
        {
            "signals": one("replayed-groups", ["group-zscore", "recompose"], "clipped-pg"),
            "learning_rate": 1e-6,
        },
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
            "learning_rate": 1e-6,
        },
    ),
    "mrt-online": Row(
        "Meta reinforcement fine-tuning with a progress reward for each episode of the policy's own reasoning",
        "Qu et al. 2025, arXiv 2503.07572",
        {
            "signals": one("probed-groups", ["progress"], {"name": "clipped-pg", "average": "constant"}),
            "learning_rate": 1e-6,
        },
    ),
    "mrt-star": Row(
        "Meta reinforcement fine-tuning by imitation of own answers that make progress",
        "Qu et al. 2025, arXiv 2503.07572",
        {"signals": one("probed-groups", ["made-progress"], "nll"), "learning_rate": 1e-5},
    ),
    "memory-r": Row(
        "Memory-R: GRPO with an episodic reward for similarity to earlier successes",
        "Le et al. 2025, arXiv 2504.02273",
        {
            "signals": one(
                {"name": "groups", "size": 16},
                ["group-zscore"],
                "clipped-pg",
                rewards=["data", {"name": "episodic", "explore": 0.0}],
            ),
            "learning_rate": 1e-6,
        },
    ),
    "memory-r-plus": Row(
        "Memory-R+: GRPO with an episodic reward for similarity to successes and distance from failures",
        "Le et al. 2025, arXiv 2504.02273",
        {
            "signals": one(
                {"name": "groups", "size": 16},
                ["group-zscore"],
                "clipped-pg",
                rewards=["data", {"name": "episodic", "warmup": 50}],
            ),
            "learning_rate": 1e-6,
        },
    ),
    "rif": Row(
        "GRPO on prompts that the policy sometimes solves: rollout-based instance filtering",
        "Lai et al. 2025, arXiv 2507.05386",
        {"signals": one("groups", ["group-zscore"], "clipped-pg", select="learnable"), "learning_rate": 1e-6},
    ),
    "cls-rl": Row(
        "Classification by reinforcement learning, with reasoning before the answer",
        "Li et al. 2025, arXiv 2503.16188",
        {
            "signals": one(CLASSES, ["group-zscore"], "clipped-pg", rewards=["think-format", "think-answer"]),
            "anchors": K3_PENALTY,
            "learning_rate": 1e-6,
        },
    ),
    "cls-rl-no-thinking": Row(
        "Classification by reinforcement learning, the answer alone",
        "Li et al. 2025, arXiv 2503.16188",
        {
            "signals": one(CLASSES, ["group-zscore"], "clipped-pg", rewards=["verbatim"]),
            "anchors": K3_PENALTY,
            "learning_rate": 1e-6,
        },
    ),
    "gflow-tb": Row(
        "Samples in proportion to reward, by trajectory balance",
        "Kang et al. 2025, arXiv 2503.06514",
        flow({"name": "tb"}),
    ),
    "gflow-subtb": Row(
        "Samples in proportion to reward, by sub-trajectory balance",
        "Kang et al. 2025, arXiv 2503.06514",
        flow({"name": "subtb"}),
    ),
    "gflow-db": Row(
        "Samples in proportion to reward, by detailed balance",
        "Kang et al. 2025, arXiv 2503.06514",
        flow({"name": "db"}),
    ),
}
