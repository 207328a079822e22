"""A table of a recipe, bound to the function that it is for, and the kinds of values that a recipe knows."""
