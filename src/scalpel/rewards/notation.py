"""Normalisation of numbers to plain decimals and fractions: text in, text out."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction

EXPONENT = re.compile(r"(?<![\w.\\])(-?\d{1,40}(?:\.\d{1,40})?)[eE]([-+]?\d{1,2})(?![\w.]\d)\b")
SCIENTIFIC = re.compile(
    r"(?<![\w.^/])(?<!\^\{)(\d{1,40}(?:\.\d{1,40})?) ?(?:[xX*\u00d7\u00b7]|\\times|\\cdot) ?"
    r"10\^(?:\{ ?([-+]?\d{1,2}) ?\}|([-+]?\d{1,2}))(?![\d^!/])"
)
UNBRACED = re.compile(r"\^(-\d+)")
MIXED = re.compile(r"(?<![\w./,^}])(\d{1,9}) (\d{1,9})/(\d{1,9})(?![\d./^])")
REPEATING = re.compile(r"(?<![\d.])(\d{0,20})\.(\d{0,20})\\(?:overline|bar)(?:\{(\d{1,20})\}|(\d))")
EUROPEAN = re.compile(r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+),(\d{1,2})(?![\d.,]\d|\d)")
GROUPED = re.compile(r"(?<![\d.,'\u2019_])(\d{1,3})((?:['\u2019]\d{3})+|(?:_\d{3})+|(?: \d{3})+)(?![\d/'\u2019_])")
FRACTION = re.compile("(\\d{0,9}) ?([\u00bc-\u00be\u2150-\u215e])")
RAISED = re.compile("(?<=[\\w)])[\u207b]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")


def decimals(text: str) -> str:
    """The text with 1e-3, 5 × 10^-3, 3 1/2, 0.\\overline{3}, 1.234,5 and 1'234 as plain decimals and fractions."""
    text = EUROPEAN.sub(lambda m: f"{m[1].replace('.', '')}.{m[2]}", text)
    text = GROUPED.sub(lambda m: m[1] + re.sub(r"\D", "", m[2]), text)
    text = EXPONENT.sub(lambda m: format(Decimal(m[1]).scaleb(int(m[2])), "f"), text)
    text = SCIENTIFIC.sub(lambda m: format(Decimal(m[1]).scaleb(int(m[2] or m[3])), "f"), text)
    text = REPEATING.sub(repeated, text)
    return UNBRACED.sub(r"^{\1}", MIXED.sub(mixed, text))


def mixed(found: re.Match[str]) -> str:
    """3 1/2 as 7/2; an improper fraction is left as it is."""
    whole, over, under = (int(part) for part in found.groups())
    return f"{whole * under + over}/{under}" if 0 < over < under else found[0]


def repeated(found: re.Match[str]) -> str:
    """0.1\\overline{6} as 1/6."""
    whole, fixed, again = found[1] or "0", found[2], found[3] or found[4]
    value = Fraction(int(whole + fixed), 10 ** len(fixed))
    value += Fraction(int(again), 10 ** len(fixed) * (10 ** len(again) - 1))
    return f"{value.numerator}/{value.denominator}"


def improper(found: re.Match[str]) -> str:
    """2½ as 5/2."""
    over, under = unicodedata.normalize("NFKC", found[2]).split("\u2044")
    return f"{int(found[1] or 0) * int(under) + int(over)}/{under}"


def power(found: re.Match[str]) -> str:
    """10³ as 10^3."""
    raised = unicodedata.normalize("NFKC", found[0]).replace("\u2212", "-")
    return f"^{raised}" if raised.isdecimal() else f"^{{{raised}}}"
