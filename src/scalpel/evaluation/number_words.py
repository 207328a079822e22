"""Formats numbers for the verdict and the tables, alike in the terminal and in the HTML report."""

from __future__ import annotations

from math import floor, log10

from scalpel.evaluation.statistics import Interval

MINUS = "−"


def percent(share: float | None, digits: int = 0) -> str:
    """0.213 → 21%. A share near 0% or 100% is never rounded to it: "0% lost" has to mean that none was lost."""
    if share is None or share != share:
        return "–"
    if 0 < share < 0.005 and digits == 0:
        return "<1%"
    if 0.995 <= share < 1 and digits == 0:
        return ">99%"
    return f"{100 * share:.{digits}f}%".replace("-", MINUS)


def points(share: float) -> str:
    """A difference of two shares in points: 0.213 → 21; below ten points with one decimal."""
    size = abs(100 * share)
    text = f"{100 * share:.1f}" if 0 < size < 9.95 else f"{100 * share:.0f}"
    text = {"-0.0": "0", "0.0": "0", "-0": "0"}.get(text, text)
    return text.replace("-", MINUS)


def point_range(interval: Interval) -> str:
    """`12 to 19`: the bounds of an interval in points."""
    return f"{points(interval.low)} to {points(interval.high)}"


def with_range(interval: Interval) -> str:
    """`15 (12 to 19)`, in points."""
    return f"{points(interval.mean)} ({point_range(interval)})"


def signed(share: float) -> str:
    text = points(share)
    return text if text.startswith(MINUS) or text == "0" else f"+{text}"


def quantity(value: float | None, unit: str = "") -> str:
    """1234567 → 1.23M: three significant digits and an SI prefix."""
    if value is None:
        return "–"
    prefixes = ["", "k", "M", "G", "T", "P", "E", "Z"]
    step = 0 if abs(value) < 1000 else min(len(prefixes) - 1, floor(log10(abs(value)) / 3))
    scaled = value / 1000**step
    text = f"{scaled:.0f}" if step == 0 and float(value).is_integer() else f"{scaled:.3g}"
    return f"{text}{' ' if unit else ''}{prefixes[step]}{unit}" if unit else f"{text}{prefixes[step]}"


def memory(size: float | None) -> str:
    """A number of bytes in binary units."""
    if size is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def duration(seconds: float | None) -> str:
    """75 → 1 min 15 s."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
