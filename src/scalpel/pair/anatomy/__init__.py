"""The distribution of the weight change over components and layers."""

from scalpel.pair.anatomy.change import Change, change, table
from scalpel.pair.anatomy.component import component

__all__ = ["Change", "change", "component", "table"]
