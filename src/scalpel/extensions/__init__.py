"""Parts from outside the package: files of the user's, as `path.py:name` in a recipe, and installed plugins.

Both are executed as they are, with all that the user may do: name only files and install only packages that you trust.
"""

from scalpel.extensions.files import is_path
from scalpel.extensions.lookup import find
from scalpel.extensions.plugins import load_plugins

__all__ = ["find", "is_path", "load_plugins"]
