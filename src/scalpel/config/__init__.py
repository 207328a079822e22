"""Recipes: schema, parsing, merge with a method's row, overrides, validation, and the plan bound from it."""
