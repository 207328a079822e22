"""Binding of a recipe's tables to the registered functions that they configure; types of values; schedules."""
