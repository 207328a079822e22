"""Errors that a user can correct, as one message and an exit code. docs/run-folder.md lists the codes."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass

from scalpel.runs.signals import number_of

FAILED, WRONG, SIGNALLED = 1, 2, 128  # a run of several failed; an error; and a signal's number is added to the last


@dataclass(frozen=True)
class UserError:
    words: str
    code: int = WRONG


def user_error(error: BaseException) -> UserError | None:
    """The message and exit code for an error that the user can correct; None for an error in the program, which keeps
    its traceback."""
    if isinstance(error, KeyboardInterrupt):
        return UserError(str(error) or "stopped", SIGNALLED + number_of(error))
    if isinstance(error, BrokenPipeError):
        return None  # a broken pipe: the reader of the output has ended
    if isinstance(error, OSError):
        return UserError(said_by_the_system(error))
    if isinstance(error, ValueError) or error_named("scalpel.training.step", "NonFiniteLoss", error):
        return UserError(str(error) or type(error).__name__)
    if isinstance(error, MemoryError) and str(error):
        return UserError(str(error))  # the loop's, which knows what would help
    if error_named("torch", "OutOfMemoryError", error) or "can't allocate memory" in str(error):
        return UserError(
            "out of memory: lower train.micro_tokens (more micro-batches, with the same result), set "
            'model.dtype="bfloat16", or use a scope with fewer trainable parameters, such as train.scope="lora"\n'
            f"({str(error).splitlines()[0]})"
        )
    return None


def error_named(module: str, name: str, error: BaseException) -> bool:
    """Whether the error is of that class, without importing its module: if it was raised, that is imported."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(error, kind)


def said_by_the_system(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no {error.filename}" if error.filename else str(error)
    words = error.strerror or str(error)
    if error.errno == errno.ENOSPC and "free" not in words:
        words += ": free some space or choose another folder (--out), then continue with --resume"
    return f"{words} ({error.filename})" if error.filename else words
