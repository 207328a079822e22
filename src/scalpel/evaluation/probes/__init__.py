"""Probes: ways to measure a model item by item. Each is a file here that registers a function or class as a `probe`.

kind        what the model does                              what is measured
`generate`  answers greedily; the task verifies the answer   right or wrong, log p of the right answer
`choose`    scores each choice; the likeliest counts         right or wrong, log p of the right choice
`given`     scores given text                                log p per token
`drift`     is compared with the base on neutral text        KL divergence per token
`revised`   is asked again after a wrong answer              right or wrong, log p of the right answer
`sampled`   gives several samples per item                   pass@1, pass@k, diversity, length, style
"""

from scalpel.evaluation.probes.choose import (
    Choice,
    Choose,
    choices,
    read_choices,
)
from scalpel.evaluation.probes.drift import Drift
from scalpel.evaluation.probes.episodes import Episodes
from scalpel.evaluation.probes.generate import Generate
from scalpel.evaluation.probes.given import Given
from scalpel.evaluation.probes.item import ItemResult, Probe, Role
from scalpel.evaluation.probes.make import make_probes
from scalpel.evaluation.probes.revised import Revised
from scalpel.evaluation.probes.sampled import Sampled
from scalpel.registry import gather_parts

gather_parts(__name__, __path__)

__all__ = [
    "Choice",
    "Choose",
    "Drift",
    "Episodes",
    "Generate",
    "Given",
    "ItemResult",
    "Probe",
    "Revised",
    "Role",
    "Sampled",
    "choices",
    "make_probes",
    "read_choices",
]
