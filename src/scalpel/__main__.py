"""`python -m scalpel`."""

from scalpel.cli.app import main

main()
