"""`python -m scalpel`."""

from scalpel.cli import app

app(prog_name="scalpel")
