"""Rendering of chat templates, with limits on time and size.

Templates are untrusted code that comes with a model. They run in the sandboxed Jinja environment of transformers, which
restricts them to producing text; but a sandbox doesn't stop an endless loop. A signal would interrupt the main thread
only, and killing a thread from outside can leave shared state inconsistent. So the limit is compiled in: each loop,
macro and block gets a call at its beginning that checks the CPU time of its thread, and products, powers and
concatenations are refused above a size before they are computed. Code without a loop is bounded by the size of its
input. So a rendering ends by itself, in any thread, after at most `seconds` of CPU time.

The time that a template may ask for (`strftime_now`) is fixed at the first request, so that training and generation
render a conversation identically, also past midnight.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache, partial
from pathlib import Path
from time import thread_time
from typing import Any

from jinja2 import Environment, Template, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from jinja2.visitor import NodeTransformer
from transformers.utils.chat_template_utils import _compile_jinja_template

from scalpel.runs.files import nearest

log = logging.getLogger("scalpel")

LARGE = 50_000_000  # characters or entries of a value
POWER = 10_000  # bits of the result of a power
OFTEN = 200  # iterations, or pieces of text, between two checks of the clock
LONG = 100_000  # characters or entries above which a value gets a check of its own
TURN, JOIN = "scalpel_turn", "scalpel_join"  # names under which a compiled template calls the functions below

LIMIT = threading.local()


class TemplateLimit(Exception):
    """A template exceeded its limit on time or size."""


def render(source: str, messages: Sequence[Mapping[str, Any]], *, seconds: float = 10.0, **variables: Any) -> str:
    """The template's text for these messages; ValueError where the template is invalid, raises or exceeds a limit."""
    LIMIT.until, LIMIT.seconds, LIMIT.turns = thread_time() + seconds, seconds, 0
    try:
        pieces: list[str] = []
        size = 0
        for piece in compiled(source).generate(messages=messages, **variables):
            pieces.append(piece)
            size += len(piece)
            bounded(size, "its text")
        return "".join(pieces)
    except TemplateSyntaxError as error:
        raise ValueError(f"the chat template is no valid Jinja: line {error.lineno}: {error.message}") from error
    except TemplateLimit as error:
        raise ValueError(f"the chat template {error}: use another one (model.chat_template)") from error
    except TemplateError as error:
        roles = ", ".join(str(m.get("role")) for m in messages)
        raise ValueError(f"the chat template refuses a conversation of roles {roles}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        roles = ", ".join(str(m.get("role")) for m in messages)
        raise ValueError(
            f"the chat template fails on a conversation of roles {roles}: {type(error).__name__}: {error}"
        ) from error


def read(path: str) -> str:
    """A chat template's text from a file."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"model.chat_template names no file, {path!r}: {nearest(file)}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the chat template {path} is no UTF-8 text: {error}") from error
    if not text.strip():
        raise ValueError(f"the chat template {path} is empty: every conversation would be the empty text")
    return text


@lru_cache(64)
def compiled(source: str) -> Template:
    return environment().from_string(source)


@cache
def environment() -> Environment:
    """The Jinja environment of transformers, with the limits compiled in."""
    made: Any = _compile_jinja_template("").environment.overlay()
    made.globals = {**made.globals, TURN: turn, JOIN: joined, "strftime_now": lambda form: fixed_time().strftime(form)}
    made._parse = partial(guarded, made)
    made.intercepted_binops = frozenset({"*", "**", "+"})
    made.binop_table = {**made.binop_table, "*": product, "**": power, "+": added}
    return made


def guarded(made: Environment, source: str, name: str | None, filename: str | None) -> nodes.Template:
    tree = Environment._parse(made, source, name, filename)
    return Guard(made).visit(tree)  # type: ignore[no-any-return]


class Guard(NodeTransformer):
    """Inserts the calls that check the limits into the syntax tree of a template."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def with_check(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        call = nodes.ExprStmt(self.called(TURN, [], node.lineno), lineno=node.lineno, environment=self.environment)
        node.body.insert(0, call)
        return node  # type: ignore[no-any-return]

    visit_For = visit_Macro = visit_CallBlock = with_check

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self.called(JOIN, node.nodes, node.lineno)

    def called(self, name: str, values: list[Any], line: int) -> nodes.Call:
        here: dict[str, Any] = {"lineno": line, "environment": self.environment}
        return nodes.Call(nodes.Name(name, "load", **here), values, [], None, None, **here)


@cache
def fixed_time() -> datetime:
    """The time that templates get, logged once, since another process renders another one."""
    now = datetime.now()
    log.info(
        "the chat template writes the date or time: it is fixed at %s until this command ends",
        f"{now:%Y-%m-%d %H:%M}",
    )
    return now


def turn() -> str:
    """Called at each iteration of a loop, and at the beginning of a macro."""
    LIMIT.turns += 1
    if LIMIT.turns % OFTEN == 0 and thread_time() > LIMIT.until:
        raise TemplateLimit(f"takes more than {LIMIT.seconds:g} s for one conversation")
    return ""


def bounded(size: int, what: str) -> None:
    if size > LARGE:
        raise TemplateLimit(f"makes {what} larger than {LARGE:,}")
    LIMIT.turns += 1  # reading the clock for each piece took two fifths of the time of a rendering
    if (size > LONG or LIMIT.turns % OFTEN == 0) and thread_time() > LIMIT.until:
        raise TemplateLimit(f"takes more than {LIMIT.seconds:g} s for one conversation")


def size_of(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | bytes) else 0


def joined(*values: Any) -> str:
    texts = [str(value) for value in values]
    bounded(sum(map(len, texts)), "a text")
    return "".join(texts)


def added(a: Any, b: Any) -> Any:
    bounded(size_of(a) + size_of(b), "a text or list")
    return a + b


def product(a: Any, b: Any) -> Any:
    for many, times in ((a, b), (b, a)):
        if size_of(many) and isinstance(times, int):
            bounded(size_of(many) * times, "a text or list")
    if isinstance(a, int) and isinstance(b, int):
        bounded((a.bit_length() + b.bit_length()) // 64, "a number")
    return a * b


def power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and a.bit_length() * abs(b) > POWER:
        raise TemplateLimit(f"raises {a.bit_length()} bits to a power of {b.bit_length()} bits")
    return a**b
