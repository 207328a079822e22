"""Reports of a run or a comparison, in the terminal and as an HTML page. Both are made from the run folder alone."""

from scalpel.reporting.console import terminal
from scalpel.reporting.page import write
from scalpel.reporting.view import View, view

__all__ = ["View", "terminal", "view", "write"]
