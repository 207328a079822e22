"""A check as JUnit XML, which continuous integration shows: one test case an ability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as xml

from scalpel.runs.visible import visible


def junit(verdict: Mapping[str, Any], name: str) -> str:
    """The XML of a check's verdict. Lost is a failure; what can't be told is skipped, with its reason."""
    rows = verdict["abilities"]
    suite = xml.Element(
        "testsuite",
        name=visible(name),
        tests=str(len(rows)),
        failures=str(sum(row["decision"] == "lost" for row in rows)),
        skipped=str(sum(row["decision"] not in ("lost", "kept") for row in rows)),
    )
    for row in rows:
        case = xml.SubElement(suite, "testcase", classname="scalpel.check", name=row["name"])
        words = in_words(row, verdict["floor"])
        if row["decision"] == "lost":
            xml.SubElement(case, "failure", message=words)
        elif row["decision"] != "kept":
            xml.SubElement(case, "skipped", message=words)
    xml.indent(suite)
    return xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def in_words(row: Mapping[str, Any], floor: float) -> str:
    """One ability in a sentence."""
    counts = f"{row['before']} of {row['items']} items right before, {row['after']} after ({row['lost']} lost)"
    interval = row["retention"]
    if interval["mean"] is None:
        return f"{counts}: {row['decision']}"
    high = "" if interval["high"] is None else f" to {interval['high']:.3f}"
    return f"{counts}: retention {interval['mean']:.3f} ({interval['low']:.3f}{high}), floor {floor}: {row['decision']}"
