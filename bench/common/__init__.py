"""What all benches share: processes that take turns, numbers, tables, results."""
