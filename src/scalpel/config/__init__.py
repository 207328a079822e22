"""Recipes: schema, parsing, merging with a method's row, overrides, validation, and the plan bound from them."""
