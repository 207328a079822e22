"""`python -m scalpel`."""

from scalpel.cli import main

main()
