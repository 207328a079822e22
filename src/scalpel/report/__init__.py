"""What a run or a comparison showed, in the terminal and as one page. Both are made from the run folder alone."""

from scalpel.report.console import terminal
from scalpel.report.page import write
from scalpel.report.view import View, view

__all__ = ["View", "terminal", "view", "write"]
