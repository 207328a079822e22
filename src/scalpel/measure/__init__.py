"""What was gained and what was lost, item by item; and which of several arms to take."""

from scalpel.measure.ledger import Entry, Ledger, ledger, metrics, summary
from scalpel.measure.probes import Choose, Drift, Generate, Given, ItemResult, Probe
from scalpel.measure.recovery import fate, recover, recovery
from scalpel.measure.results import Arm, Run, load
from scalpel.measure.run import look, measure, save
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
    "ledger",
    "load",
    "look",
    "measure",
    "metrics",
    "recover",
    "recovery",
    "save",
    "summary",
]
