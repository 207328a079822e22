"""The page in a real browser: every figure is drawn, in both themes, and no script fails."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from folders import Truth, write_comparison, write_run
from scalpel.reporting import write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=10000", "--dump-dom",
)  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def dom(page: Path, profile: Path, *more: str) -> str:
    """The page as it stands after its scripts ran."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *QUIET, *more, f"--user-data-dir={profile}", page.resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def head(found: str) -> str:
    match = re.search(r"<html[^>]*>", found)
    assert match
    return match.group()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    arms = {"sft": Truth(0.95, 0.8), "<b>dft": Truth(0.7, 0.1)}
    return write(write_comparison(tmp_path_factory.mktemp("runs") / "first", arms))


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_figure_is_drawn_without_a_script_error(page, tmp_path, theme):
    scheme = {"dark": 0, "light": 1}[theme]
    found = dom(page, tmp_path, f"--blink-settings=preferredColorScheme={scheme}")
    figures = len(re.findall(r'id="figure-\d+"', found))
    assert figures == 1 + 4 + 1 + 2  # the scatter, a panel for each probe, the loss, a heat map for each arm
    assert f'data-drawn="{figures}"' in head(found) and "data-error" not in head(found)
    assert found.count('class="main-svg"') >= figures
    assert "reverse-long item 0?" in found and "alert(" not in re.sub(r"&lt;script&gt;alert\(", "", found_text(found))
    ink = "rgb(168, 164, 153)" if theme == "dark" else "rgb(96, 93, 86)"
    assert ink in found


def found_text(found: str) -> str:
    """The page's own part, without the plotting library."""
    return found[found.index("<main>") : found.index("</main>")]


def test_a_single_run_is_drawn_too(tmp_path):
    found = dom(write(write_run(tmp_path / "mine", Truth(0.9, 0.1))), tmp_path / "profile")
    assert 'data-drawn="7"' in head(found) and "data-error" not in head(found)


def test_a_failing_script_would_be_seen(page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text(encoding="utf-8").replace("draw();\n", "drawn_wrongly();\n", 1), encoding="utf-8")
    found = head(dom(broken, tmp_path / "profile"))
    assert "data-error" in found and "drawn_wrongly" in found and "data-drawn" not in found
