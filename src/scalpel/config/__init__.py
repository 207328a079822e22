"""What a recipe says: its schema, read, merged with the row of a method, resolved and checked."""
