"""Tables of a recipe, bound to the registered functions that they configure; types of values; schedules."""
