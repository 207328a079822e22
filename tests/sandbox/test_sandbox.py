"""Hostile programs: none reaches a file, the network, another process or more than its share."""

import os
import time

import pytest

from scalpel.sandbox import Limits, Unavailable, missing, run_program
from scalpel.sandbox import sandbox as module

walls = pytest.mark.skipif(bool(missing()), reason=f"no sandbox on this machine: {missing()}")


@walls
def test_a_program_runs_and_its_output_and_status_come_back():
    assert run_program("print('hi')").stdout == "hi\n"
    found = run_program("import sys; print('oh', file=sys.stderr); sys.exit(3)")
    assert (found.ended, found.status, found.stderr) == ("error", 3, "oh\n")


@walls
def test_nothing_but_the_interpreter_and_an_empty_scratch_folder_is_there(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    found = run_program(
        f"import os; print(os.path.exists({str(secret)!r}), os.path.exists('/etc/passwd'), os.listdir('/tmp'), "
        "os.getuid() == 0, sorted(k for k in os.environ))"
    )
    assert found.stdout.startswith("False False [] False"), found
    assert "HOME" in found.stdout and "OMP_NUM_THREADS" not in found.stdout


@walls
@pytest.mark.parametrize(
    ("what", "program"),
    [
        ("write beside the scratch folder", "open('/usr/x', 'w')"),
        ("write to the root", "open('/x', 'w')"),
        ("connect", "import socket; socket.create_connection(('1.1.1.1', 53), 1)"),
        ("fill the scratch folder", "open('/tmp/x', 'wb').write(bytes(64 << 20))"),
        ("many small files", "[open(f'/tmp/{k}', 'w') for k in range(5000)]"),
        ("take memory", "x = bytearray(4 << 30)"),
        ("become root", "import os; os.setuid(0)"),
        ("see processes of others", "import os; assert [p for p in os.listdir('/proc') if p.isdigit() and p != '1']"),
        ("open a device", "open('/dev/sda', 'rb')"),
        ("deep recursion", "f = lambda: f(); f()"),
        ("no such syntax", "def ("),
    ],
)
def test_hostile_programs_fail(what, program):
    found = run_program(program, Limits(seconds=20))
    assert found.ended == "error" and found.status != 0, (what, found)


@walls
def test_calls_that_build_or_breach_walls_are_forbidden():
    found = run_program(
        "import ctypes; l = ctypes.CDLL(None, use_errno=True)\n"
        "calls = (lambda: l.unshare(0x10000000), lambda: l.ptrace(0, 0, 0, 0), lambda: l.chroot(b'/tmp'),\n"
        "         lambda: l.mount(b'a', b'/tmp', b'tmpfs', 0, None), lambda: l.syscall(425, 1, 0))\n"
        "print([(call(), ctypes.get_errno()) for call in calls])"
    )
    assert found.stdout == f"{[(-1, 1)] * 5}\n", found


@walls
@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(60)",
        "import os, time\nif os.fork() == 0: os.setsid()\ntime.sleep(60)",
    ],
)
def test_time_is_limited_and_nothing_goes_on_behind_it(program):
    marker = f"#{os.getpid()}-{time.monotonic_ns()}"
    start = time.monotonic()
    found = run_program(program + marker if "\n" not in program else f"{program} {marker}", Limits(seconds=1.5))
    assert found.ended == "timeout" and time.monotonic() - start < 15
    deadline = time.monotonic() + 5
    while running(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(marker)


def running(marker: str) -> bool:
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                if marker.encode() in file.read():
                    return True
        except OSError:
            continue
    return False


@walls
def test_a_daemon_ends_with_its_program():
    marker = f"#{os.getpid()}-{time.monotonic_ns()}"
    found = run_program(f"import os, time\nif os.fork() == 0:\n  os.setsid(); time.sleep(60)\nprint(1) {marker}")
    assert found.stdout == "1\n"
    assert not running(marker)


@walls
def test_processes_and_output_are_limited():
    bomb = "import os\nfor _ in range(100):\n  if os.fork() == 0:\n    import time; time.sleep(30)"
    assert run_program(bomb, Limits(seconds=20)).ended == "error"
    flood = run_program("while True: print('a' * 1000)", Limits(seconds=20, output=10_000))
    assert flood.ended == "output" and len(flood.stdout) == 10_000


def test_where_walls_can_not_be_built_nothing_runs_unless_asked_for_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "missing", lambda: "no namespaces")
    mark = tmp_path / "ran"
    program = f"open({str(mark)!r}, 'w').write('x')"
    with pytest.raises(Unavailable, match="no namespaces.*unsafe"):
        run_program(program)
    assert not mark.exists()
    assert run_program(program, unsafe=True).ok and mark.exists()


@walls
def test_failing_to_build_the_walls_is_never_counted_against_the_program(monkeypatch):
    monkeypatch.setattr(module, "readable", lambda: ["/no/such/folder"])
    with pytest.raises(Unavailable, match="can't be built"):
        run_program("print(1)")
    monkeypatch.setattr(module, "LAUNCHER", "/no/such/launcher.py")
    with pytest.raises(Unavailable, match="can't be built.*launcher"):
        run_program("print(1)")
