"""Whether a completion states the mathematical value of an answer, with a strict time limit.

Parsing or simplifying an expression may not terminate (a power tower, for example), and a thread can't be stopped from
outside. So a separate process parses and compares (`compared.py`); it is killed when a comparison takes too long, and
all threads of this process share it.
"""

from __future__ import annotations

import atexit
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from scalpel.rewards.answers import BOXES, final, stated
from scalpel.rewards.worded import judged, word_of

__all__ = ["BOXES", "judge"]
SCRIPT = Path(__file__).with_name("compared.py")
START_SECONDS = 120.0  # to import sympy and Math-Verify, on a slow disk too
ANSWER_SECONDS = 60  # for the reference answer: it is generous, since a timeout here would end the run


def judge(completion: str, answer: str, *, seconds: int = 5, box: str = "last") -> bool | None:
    """Whether the completion's final answer equals `answer`; None if no answer can be parsed from the completion within
    `seconds`. ValueError if the reference answer itself can't be parsed."""
    if seconds < 1:
        raise ValueError(f"seconds is {seconds}: the time limit of a comparison must be at least 1 second")
    if box not in BOXES:
        raise ValueError(f"box is {box!r}: it must be one of {', '.join(BOXES)}, which says which box counts")
    word = word_of(answer)
    if word is not None:
        verdict = judged(completion, word, box)
        if verdict is not None or len(word) > 1:  # a single letter may also be a variable
            return verdict
    right = stated(answer)
    if not answer.strip() or not WORKER.reads(right):
        raise ValueError(
            f"math-verify can't parse the reference answer {answer!r}: it must be a number or an expression. For other "
            "text use the verifier 'exact'; if the value is inside a longer text, set answer_pattern"
        )
    if not completion.strip():
        return None
    said = final(completion, box, several=several(right))
    if said is None:
        return False
    return WORKER.compare(right, said, seconds)


def several(right: tuple[list[str], str]) -> bool:
    """Whether the reference answer has several parts: "1,2" has; "1,234" may be one number, so it has not."""
    bracketed = right[1].startswith(("$(", "$["))
    listed = not bracketed and re.search(r"\d,-?\d{1,2}(?!\d)", right[1]) is not None
    return len(right[0]) > 1 or "\\{" in right[1] or listed


Answer = tuple[list[str], str]  # its parts, and the whole answer


class Worker:
    """The comparing process: started on first use, and started again after it was killed."""

    def __init__(self, script: Path = SCRIPT) -> None:
        self.script = script
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None
        self.readable: dict[str, bool] = {}  # reference answers that were tried, to parse each once
        atexit.register(self.end)

    def reads(self, right: Answer) -> bool:
        """Whether the process can parse the reference answer."""
        with self.lock:
            if right[1] not in self.readable:
                reply = self.ask(right, None, ANSWER_SECONDS)
                self.readable[right[1]] = reply is True
            return self.readable[right[1]]

    def compare(self, right: Answer, said: Answer, seconds: float) -> bool | None:
        with self.lock:
            reply = self.ask(right, said, seconds)
        return reply if isinstance(reply, bool) else None

    def ask(self, right: Answer, said: Answer | None, seconds: float) -> bool | str | None:
        """The process's reply; None on a timeout, or if the process died."""
        if self.process is None or self.process.poll() is not None:
            self.end()
            self.readable.clear()  # the new process has an empty cache
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(self.script)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
            )  # fmt: skip
            self.told({"right": [["1"], "1"], "said": [["1"], "1"], "seconds": START_SECONDS})
        if self.process is None:
            return None
        return self.told({"right": right, "said": said, "seconds": seconds})

    def told(self, question: dict[str, Any]) -> bool | str | None:
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        limit = threading.Timer(question["seconds"], process.kill)
        limit.start()
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            reply = process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        finally:
            limit.cancel()
        if not reply:
            self.end()
            return None
        said: bool | str | None = json.loads(reply)
        return said

    def end(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()


WORKER = Worker()
