"""Files of users: which others belong to them, that each is imported once, and that what they print steers nothing."""

import io
import os
import pty
import sys
import threading

import pytest
from rich.file_proxy import FileProxy

from running import prepare, tables
from scalpel.data.example import Example
from scalpel.experiments.preflight import refuse_recipe
from scalpel.experiments.single import run_recipe
from scalpel.extensions import find
from scalpel.extensions.files import function_at
from scalpel.extensions.guarded import Failed
from scalpel.extensions.modules import begin_run, modules_beside
from scalpel.registry import AXES, ORIGINS, forget
from scalpel.rewards import Rewards
from scalpel.runs.screened import Screened, screened
from scalpel.runs.terminal import Terminal
from scalpel.training.input_digests import differing, files_of

ATTACK = "\x1b[2J\x1b]0;owned\x07"
SHOWN = "␛[2J␛]0;owned␇"


@pytest.fixture(autouse=True)
def own_path():
    """What is imported here is forgotten again."""
    path, names = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - names:
        if str(getattr(sys.modules[name], "__file__", "")).startswith("/tmp"):
            del sys.modules[name]


def written(folder, **files):
    for name, text in files.items():
        path = folder / f"{name.replace('__of__', '/')}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder


# --- files beside -----------------------------------------------------------------------------------------------


def test_files_beside_are_found_wherever_they_are_imported(tmp_path):
    code = "import json, rules.strict as strict\nfrom words import *\ndef f():\n    import late\n"
    written(
        tmp_path,
        code=code + "    __import__('importlib').import_module('named')\n",
        words="import code\nimport deeper\n",
        late="",
        named="",
        deeper="broken(",
        idle="",
        json_="",
        rules__of____init__="from . import base\n",
        rules__of__strict="from .base import x\nfrom .. import idle_too\n",
        rules__of__base="",
        rules__of__idle="",
    )
    found = [str(path.relative_to(tmp_path)) for path in modules_beside(tmp_path / "code.py")]
    assert found == sorted(
        ["deeper.py", "late.py", "named.py", "rules/__init__.py", "rules/base.py", "rules/strict.py", "words.py"]
    )


def test_a_helper_that_changed_is_named_when_a_run_goes_on(tmp_path, monkeypatch):
    written(tmp_path, code="import helper\ndef f(completions): return helper.given(completions)\n")
    written(tmp_path, helper="def given(completions): return [1.0] * len(completions)\n")
    monkeypatch.chdir(tmp_path)
    for spec in ("code.py:f", f"{tmp_path}/code.py:f"):
        made = tables(tmp_path, {"method": "grpo"}, data={"rewards": [spec]})
        was = {"files": files_of(made)}
        (tmp_path / "helper.py").write_text("def given(completions): return [0.5] * len(completions)\n")
        (line,) = differing(was, {"files": files_of(made)})
        assert line.startswith(f"{spec.replace('code.py:f', 'helper.py')} (rewards): its digest was")
        written(tmp_path, helper="def given(completions): return [1.0] * len(completions)\n")


def test_a_file_finds_what_lies_beside_it_and_not_what_lies_beside_another(tmp_path):
    specs = []
    for k in (1, 2):
        written(tmp_path / str(k), code="from helper import x\ndef f(completions): return [x]\n", helper=f"x = {k}.0\n")
        specs.append(f"{tmp_path}/{k}/code.py:f")
    assert [function_at(spec)(["a"]) for spec in specs] == [[1.0], [2.0]]
    written(tmp_path / "3", code="import json\nf = json.dumps\n", json="raise OSError\n")
    assert function_at(f"{tmp_path}/3/code.py:f")(1) == "1"  # a name of Python's own stays Python's


def test_two_files_may_share_a_helper_that_registers_parts(tmp_path):
    helper = "from scalpel.part import part\n@part('credit', 'shared', needs={'entropy'}, reads={'reward'})\n"
    helper += "def shared(out, batch, *, gamma: float = 1.0): ...\n"
    own = "import helper\nfrom helper import shared\nfrom scalpel.part import part\n"
    own += "@part('credit', '{0}')\ndef {0}(out, batch): ...\n"
    written(tmp_path, helper=helper, one=own.format("one"), two=own.format("two"))
    for _ in range(2):
        for name in ("one", "two", "one"):
            found = find("credit", f"{tmp_path}/{name}.py:shared")
            assert found.needs == {"entropy"} and found is AXES["credit"]["shared"]
            assert find("credit", f"{tmp_path}/{name}.py:{name}") is AXES["credit"][name]
        begin_run()
        written(tmp_path, helper=helper + "\n")  # it has changed, and both are executed again
    written(tmp_path / "other", three=own.format("three"), helper=helper)
    with pytest.raises(ValueError, match="'shared' is registered twice: by .*helper.py .* and by .*other/helper"):
        find("credit", f"{tmp_path}/other/three.py:three")
    written(tmp_path, twice="from scalpel.part import part\n" + "@part('credit', 'same')\ndef f(out, batch): ...\n" * 2)
    with pytest.raises(ValueError, match="credit 'same' is registered twice"):
        find("credit", f"{tmp_path}/twice.py:f")
    for place in [place for place in ORIGINS.values() if place.startswith(str(tmp_path))]:
        forget(place)


# --- once -------------------------------------------------------------------------------------------------------

PRINTS = "print('imported')\ncalls = []\ndef f(completions, **columns):\n    calls.append(1)\n"
PRINTS += "    return [float(len(calls))] * len(completions)\n"


def test_a_file_is_executed_again_only_where_it_or_what_lies_beside_it_has_changed(tmp_path, capsys):
    written(tmp_path, code="import helper\n" + PRINTS, helper="x = 1\n")
    spec = f"{tmp_path}/code.py:f"
    first = function_at(spec)
    assert function_at(spec) is first and capsys.readouterr().out == "imported\n"
    written(tmp_path, helper="x = 1000\n")
    assert function_at(spec) is not first and capsys.readouterr().out == "imported\n"
    assert sys.modules["helper"].x == 1000


def test_a_run_imports_a_file_once_and_finds_nothing_that_another_left_in_it(tmp_path, capsys):
    prepare(tmp_path)
    written(tmp_path, code=PRINTS + "def right(completion, **columns): return [1.0]\n")
    verified = {"verify": f"{tmp_path}/code.py:f", "shares": {"train": 1}}
    over = {"task": verified, "data": {"rewards": ["task", f"{tmp_path}/code.py:f"]}, "models": {}}
    made = tables(tmp_path, {"method": "sft", "steps": 1}, **over).model_copy(update={"models": {}})
    refuse_recipe(made)
    run_recipe(made, tmp_path / "run")
    assert capsys.readouterr().out.count("imported") == 1
    rewards = Rewards(made.data.rewards[1:])
    assert rewards([Example("a", id="1")], ["b"], [[1]]).reward_SK.tolist() == [[1.0]]
    begin_run()  # as the next arm does
    rewards = Rewards(made.data.rewards[1:])
    assert rewards([Example("a", id="1")], ["b"], [[1]]).reward_SK.tolist() == [[1.0]]
    assert capsys.readouterr().out.count("imported") == 1


# --- what it prints ---------------------------------------------------------------------------------------------


class Tty(io.StringIO):
    def isatty(self):
        return True


def test_what_is_printed_is_visible_on_a_terminal_and_to_the_letter_in_a_file(monkeypatch):
    for stream, said in ((Tty(), SHOWN), (io.StringIO(), ATTACK)):
        monkeypatch.setattr(sys, "stdout", stream)
        with screened():
            print(ATTACK, flush=True)
            sys.stdout.writelines([ATTACK, "\n"])
            assert sys.stdout.write("é\t\n") == 3 and sys.stdout.isatty() is stream.isatty()
        assert stream.getvalue() == f"{said}\n{said}\né\t\n" and sys.stdout is stream
        print(ATTACK)
        assert stream.getvalue().endswith(f"{ATTACK}\n")


def test_a_reward_prints_so_even_from_a_thread_of_its_own_and_where_it_fails(tmp_path, monkeypatch):
    written(
        tmp_path,
        code="import sys, threading\ndef f(completions):\n    print(completions[0])\n"
        "    t = threading.Thread(target=lambda: print(completions[0], file=sys.stderr))\n"
        "    t.start(); t.join()\n    raise OSError(completions[0])\n",
    )
    streams = [Tty(), Tty()]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    with pytest.raises(Failed):
        Rewards([f"{tmp_path}/code.py:f"])([Example("a", id="1")], [ATTACK], [[1]])
    assert [stream.getvalue() for stream in streams] == [f"{SHOWN}\n"] * 2
    assert [sys.stdout, sys.stderr] == streams


def test_beside_bars_it_is_visible_and_our_own_colours_stay(monkeypatch):
    real = Tty()
    console = Terminal(file=real, force_terminal=True, color_system="standard", width=80)
    monkeypatch.setattr(sys, "stdout", FileProxy(console, io.StringIO()))
    monkeypatch.setattr(sys, "stderr", FileProxy(console, real))
    ours = Terminal(stderr=True, force_terminal=True, color_system="standard", width=80)
    with screened():
        print("\x1b]8;;http://example.org\x1b\\here")
        ours.print("[red]x[/red]")
    assert real.getvalue() == "␛]8;;http://example.org␛\\here\n\x1b[31mx\x1b[0m\n"


def test_calls_in_several_threads_leave_the_streams_as_they_were(monkeypatch):
    stream, inside, over = Tty(), threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "stdout", stream)

    def longer():
        with screened():
            inside.set()
            over.wait(10)

    thread = threading.Thread(target=longer)
    thread.start()
    assert inside.wait(10)
    with screened():
        pass
    assert isinstance(sys.stdout, Screened)  # the other one is still under way
    over.set()
    thread.join()
    assert sys.stdout is stream


def test_a_stream_that_users_code_put_in_its_place_stays(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Tty())
    other = io.StringIO()
    with screened():
        sys.stdout = other
    assert sys.stdout is other


def test_in_another_process_it_is_visible_on_its_terminal_too(tmp_path):
    written(tmp_path, code="def f(completions):\n    print(completions[0])\n    return [1.0]\n")
    child, line = pty.fork()
    if not child:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        try:
            Rewards([f"{tmp_path}/code.py:f"])([Example("a", id="1")], [ATTACK], [[1]])
            sys.stdout.flush()
        finally:
            os._exit(0)
    said = b""
    try:
        while piece := os.read(line, 1024):
            said += piece
    except OSError:  # the child has ended
        pass
    os.waitpid(child, 0)
    assert said.decode() == f"{SHOWN}\r\n"
