"""What was gained and what was lost, item by item; and which of several arms to take."""

from scalpel.measure.ledger import Entry, Ledger, metrics, side_by_side, summary
from scalpel.measure.probes import Choose, Drift, Generate, Given, ItemResult, Probe, make_probes
from scalpel.measure.recovery import fate, recover, recovered
from scalpel.measure.results import Arm, Run, load
from scalpel.measure.run import look, measure, save, thin
from scalpel.measure.verdict import comparison

__all__ = [
    "Arm",
    "Choose",
    "Drift",
    "Entry",
    "Generate",
    "Given",
    "ItemResult",
    "Ledger",
    "Probe",
    "Run",
    "comparison",
    "fate",
    "load",
    "look",
    "make_probes",
    "measure",
    "metrics",
    "recover",
    "recovered",
    "save",
    "side_by_side",
    "summary",
    "thin",
]
