"""Escapes control characters in texts of data sets and models, so that a terminal or a page shows them instead of
obeying them.

Such texts may hold escape sequences, which move the cursor, change the title or make links; bidirectional controls,
which reorder a line so that it reads differently (CVE-2021-42574); or lone surrogates, which can't be encoded as UTF-8.
Tabs and line ends are unchanged.
"""

from __future__ import annotations

import logging
import re

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f"  # C0 controls: escape, bell, backspace, carriage return, …
    "\x80-\x9f"  # C1 controls, which some terminals obey
    "\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    "\ud800-\udfff]"  # lone surrogates
)
PICTURES, DELETE = 0x2400, 0x7F  # the Unicode block of control pictures: ␛ for escape


def visible(text: str) -> str:
    """The text with control characters replaced by visible signs: ␛, ␇, \\x9b, \\u202e."""
    return STEERING.sub(sign, text)


def sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(PICTURES + code)
    if code == DELETE:
        return "␡"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def record_visible(record: logging.LogRecord) -> bool:
    """A log filter that escapes control characters in a record, for whichever handler shows or stores it."""
    record.msg, record.args = visible(record.getMessage()), ()
    return True
