"""Data rows as examples, and examples as token sequences with a loss mask: chat templates and the tokenizer."""
