"""Rows as examples, and examples as tokens: chat templates, the tokenizer, sequences with the trained tokens marked."""
