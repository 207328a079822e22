"""What was gained and what was lost, item by item; and which of several arms to take."""

from scalpel.evaluation.ledger import (
    Entry,
    Ledger,
    metrics,
    side_by_side,
    summary,
)
from scalpel.evaluation.probes import (
    Choose,
    Drift,
    Generate,
    Given,
    ItemResult,
    Probe,
    make_probes,
)
from scalpel.evaluation.recovery import fate, recover, recovered
from scalpel.evaluation.results import ArmResults, RunResults, load
from scalpel.evaluation.run import (
    measure,
    run_probes,
    save,
)
from scalpel.evaluation.verdict import comparison

__all__ = [
    "ArmResults",
    "Choose",
    "Drift",
    "Entry",
    "Generate",
    "Given",
    "ItemResult",
    "Ledger",
    "Probe",
    "RunResults",
    "comparison",
    "fate",
    "load",
    "run_probes",
    "make_probes",
    "measure",
    "metrics",
    "recover",
    "recovered",
    "save",
    "side_by_side",
    "summary",
]
