"""The old place of `scalpel.data.example`, kept for one release for code that imports from here."""

from warnings import warn

from scalpel.data.example import Example, Message, Prompt, Task

__all__ = ["Example", "Message", "Prompt", "Task"]

warn("scalpel.example has moved to scalpel.data.example", DeprecationWarning, stacklevel=2)
