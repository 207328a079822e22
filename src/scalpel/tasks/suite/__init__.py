"""The shipped suite: abilities that most models have, as generators of questions with programs that verify answers.

`evaluation/suites/` puts them together as the probes of `scalpel check`; each is also a task of its own, so that what a
check found broken can be trained, replayed or held by name.
"""

from scalpel.registry import gather_parts
from scalpel.tasks.suite.suite_task import VERSION, SuiteTask

gather_parts(__name__, __path__)

__all__ = ["VERSION", "SuiteTask"]
