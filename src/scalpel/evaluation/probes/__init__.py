"""Probes: ways to measure a model item by item. Each is a file here that registers a function or class as a `probe`.

docs/methods.md lists the kinds with their keys; the table is generated.
"""

from scalpel.evaluation.probes.another_model import AnotherModel
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
from scalpel.evaluation.probes.loss import Loss
from scalpel.evaluation.probes.make import make_probes
from scalpel.evaluation.probes.revised import Revised
from scalpel.evaluation.probes.sampled import Sampled
from scalpel.registry import gather_parts

gather_parts(__name__, __path__)

__all__ = [
    "AnotherModel",
    "Choice",
    "Choose",
    "Drift",
    "Episodes",
    "Generate",
    "Given",
    "ItemResult",
    "Loss",
    "Probe",
    "Revised",
    "Role",
    "Sampled",
    "choices",
    "make_probes",
    "read_choices",
]
