"""scalpel teaches a language model something new and keeps what it already knew."""

__version__ = "0.1.0"
