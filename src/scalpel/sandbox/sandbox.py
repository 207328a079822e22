"""The sandbox: what a model writes is run nowhere but here.

A program runs without network, with no files but the interpreter's (to read) and an empty scratch folder in memory, and
with limits on time, memory, processes, files and output. It needs Linux with user namespaces, which an ordinary user
has on most distributions; where they are missing, nothing is run: `unsafe = True` is the one way around that, and then
only time and output are limited.

The walls are those of bubblewrap, by the same system calls, and a filter of system calls besides (`launcher.py`).
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Literal

LAUNCHER = Path(__file__).with_name("launcher.py")
READY = b"ready"
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/lib32")

Ended = Literal["ok", "error", "timeout", "output", "killed"]


@dataclass(frozen=True)
class Limits:
    """What a program may use."""

    seconds: float = 5.0  # wall-clock time, and processor time of each process
    memory: int = 512 << 20  # bytes of address space, each process
    processes: int = 16
    file_bytes: int = 16 << 20  # of the scratch folder
    output: int = 64 << 10  # bytes of standard output and error, each


@dataclass(frozen=True)
class Outcome:
    """How a program ended. `status` is its exit status; what is beyond the limit of output is lost."""

    ended: Ended
    status: int | None
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.ended == "ok"


class Unavailable(ValueError):
    """This machine can't build the sandbox."""


def run_program(program: str, limits: Limits = Limits(), *, unsafe: bool = False) -> Outcome:
    """Runs a Python program in the sandbox. Raises Unavailable where there is none, unless `unsafe`."""
    if unsafe:
        return watched([sys.executable, "-I", "-c", program], limits)
    if reason := missing():
        raise Unavailable(
            f"what a model writes is only run in a sandbox, and this machine has none: {reason}. Allow user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1, or a container with them), or say unsafe = true, which runs "
            "the model's programs with all of your rights"
        )
    return walled(program, limits)


@cache
def missing() -> str:
    """Why there is no sandbox on this machine; empty where there is one, which is found by running a program in it."""
    if sys.platform != "linux":
        return f"it needs Linux, and this is {sys.platform}"
    try:
        found = walled("print(1 + 1)", Limits(seconds=20))
    except Unavailable as error:
        return str(error)
    return "" if found.ok and found.stdout == "2\n" else f"a trial ended as {found.ended}: {found.stderr.strip()}"


def walled(program: str, limits: Limits) -> Outcome:
    """Runs a program within the walls. Raises Unavailable where they could not be built: that is no fault of the
    program, and must not count as one."""
    reading, writing = os.pipe()
    try:
        found = watched(command(program, limits, writing), limits, keep=(writing,))
        os.close(writing)
        if (said := os.read(reading, 1 << 12)) != READY:
            raise Unavailable(f"the sandbox can't be built: {said.decode(errors='replace') or why(found)}")
    finally:
        os.close(reading)
    return found


def why(found: Outcome) -> str:
    """Why the launcher ended before it could say anything."""
    return found.stderr.strip() or f"it was not ready after {found.seconds:.1f} seconds ({found.ended})"


def command(program: str, limits: Limits, report: int) -> list[str]:
    wanted = {
        "program": program,
        "python": os.path.realpath(sys.executable),
        "readable": readable(),
        "memory": limits.memory,
        "seconds": limits.seconds,
        "processes": limits.processes,
        "file_bytes": limits.file_bytes,
        "report": report,
    }
    return [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(wanted)]


@cache
def readable() -> list[str]:
    """Folders that the interpreter needs: the system's libraries, its own library and its executable."""
    own = [sysconfig.get_path("stdlib"), str(Path(sys.executable).resolve().parent), f"{sys.base_prefix}/lib"]
    found: list[str] = []
    for path in [*SYSTEM, *own]:
        if os.path.isdir(path) and not any(path == have or path.startswith(f"{have}/") for have in found):
            found.append(path)
    return found


def watched(arguments: list[str], limits: Limits, keep: tuple[int, ...] = ()) -> Outcome:
    """Runs a command until it ends, or its time or output does; then its whole process group is killed."""
    start = time.monotonic()
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=keep,
        start_new_session=True,
    )  # fmt: skip
    try:
        texts, stopped = collected(process, start + limits.seconds, limits.output)
    finally:
        killed(process)
    status = process.wait()
    ended: Ended = stopped or ("ok" if status == 0 else "killed" if status < 0 or status >= 128 else "error")
    out, err = (text[: limits.output].decode(errors="replace") for text in texts)
    return Outcome(ended, None if stopped else status, out, err, time.monotonic() - start)


def collected(
    process: subprocess.Popen[bytes], deadline: float, most: int
) -> tuple[tuple[bytes, bytes], Literal["timeout", "output"] | None]:
    """Standard output and error up to the limit, and what stopped the program before its end."""
    assert process.stdout is not None and process.stderr is not None
    texts: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    stopped: Literal["timeout", "output"] | None = None
    with selectors.DefaultSelector() as selector:
        for pipe in texts:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map() and stopped is None:
            left = deadline - time.monotonic()
            ready = selector.select(max(0.0, left))
            if not ready and left <= 0:
                stopped = "timeout"
            for key, _ in ready:
                source: IO[bytes] = key.fileobj  # type: ignore[assignment]
                if not (chunk := os.read(source.fileno(), 1 << 16)):
                    selector.unregister(source)
                texts[source] += chunk
                if len(texts[source]) > most:
                    stopped = "output"
    out, err = texts.values()
    return (bytes(out), bytes(err)), stopped


def killed(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all that it started. Those in the sandbox end with their launcher."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
