"""Ways to look at a model, item by item. Each is registered in the axis `probe`.

`generate`  answers greedily; the task verifies            right or wrong, log p of the right answer
`choose`    picks the choice of greatest log-probability   right or wrong, log p of the right choice
`given`     scores text that it is given                   log p per token
`drift`     compares with the base on neutral text         KL per token
`revised`   is asked again where it was wrong              right or wrong, log p of the right answer
`sampled`   takes several samples and counts               share right, within reach, distinct, in a style
"""

from scalpel.evaluation.probes.choose import (
    Choice,
    Choose,
    choices,
    read_choices,
)
from scalpel.evaluation.probes.drift import Drift
from scalpel.evaluation.probes.generate import Generate
from scalpel.evaluation.probes.given import Given
from scalpel.evaluation.probes.item import ItemResult, Probe, Role
from scalpel.evaluation.probes.make import make_probe, make_probes
from scalpel.evaluation.probes.revised import Revised
from scalpel.evaluation.probes.sampled import Sampled

__all__ = [
    "Choice",
    "Choose",
    "Drift",
    "Generate",
    "Given",
    "ItemResult",
    "Probe",
    "Revised",
    "Role",
    "Sampled",
    "choices",
    "make_probe",
    "make_probes",
    "read_choices",
]
