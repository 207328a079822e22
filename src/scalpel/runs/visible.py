"""Text of others, as a terminal or a page may show it: what would steer the terminal is shown, not obeyed.

A data set or a model may write escape sequences, which move the cursor, change the title, or make a link of what looks
like words; controls that turn the direction of a line, so that it reads otherwise than it is; or half a character,
which no file can hold. Tabs and ends of lines stay as they are.
"""

from __future__ import annotations

import logging
import re

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f"  # controls: escape, bell, backspace, carriage return, …
    "\x80-\x9f"  # the same in one byte, as some terminals obey them
    "\u202a-\u202e\u2066-\u2069"  # turn the direction of what follows
    "\ud800-\udfff]"  # half a character
)
PICTURES, DELETE = 0x2400, 0x7F  # where Unicode has the signs for controls: ␛ for escape


def visible(text: str) -> str:
    """The text with all that steers replaced by signs: ␛, ␇, \\x9b, \\u202e."""
    return STEERING.sub(sign, text)


def sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(PICTURES + code)
    if code == DELETE:
        return "␡"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def record_visible(record: logging.LogRecord) -> bool:
    """A filter of the log: makes a record's words visible, whichever handler shows or keeps them."""
    record.msg, record.args = visible(record.getMessage()), ()
    return True
