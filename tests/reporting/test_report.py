"""The report says what is in the run folder, in order, and lets no text of a model out of its box."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from folders import SPICE, Truth, write_comparison, write_run
from scalpel.evaluation import comparison, load
from scalpel.reporting import terminal, view, write
from scalpel.reporting.figures import (
    COLOURS,
    curves,
    floors,
    heat_maps,
    scatter,
    style,
)
from scalpel.reporting.items import LONGEST, text
from scalpel.runs.folder import write_json

ARMS = {"sft": Truth(0.95, 0.8), "prefix-rft": Truth(0.7, 0.05, 1.5)}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = write_comparison(tmp_path_factory.mktemp("runs") / "first", ARMS)
    found = comparison(load(folder), budget={"unit": "flops", "amount": 5e9}, failed={"ppo": "it gave <NaN>"})
    write_json(folder / "comparison.json", found)
    return folder


@pytest.fixture(scope="module")
def html(compared):
    return write(compared).read_text(encoding="utf-8")


def plain(html):
    """What a reader sees of the page's own part, before the plotting library."""
    body = html[html.index("<main>") : html.index("</main>")]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def test_sections_stand_in_order_with_the_verdict_first(html):
    headings = re.findall(r"<h[12]>(.*?)</h[12]>", html)
    assert headings == [
        "Take prefix-rft.",
        "Why",
        "Gain against forgetting",
        "At the same skill",
        "Along training",
        "Loss, reward and rate by step",
        "Where the weights moved",
        "Answers before and after",
        "Cost",
        "To run it again",
    ]


def floored(at: Path, **seen: int) -> Path:
    """A run whose summary tells of a floor, with what was seen of it."""
    folder = write_run(at / "floored", Truth(0.9, 0.01))
    path = folder / "summary.json"
    held = {"floor": 0.98, "held": True, "left": {"facts": 0.99}, "units": {"facts": 100}}
    floor = {**held, **seen, "seconds": 3.0, "flops": 5e8, "strength": 7.0}
    write_json(path, json.loads(path.read_text()) | {"floors": [floor]})
    return folder


def test_a_floor_has_a_section_where_there_is_one(tmp_path, html):
    folder = floored(tmp_path, looks=20, below=5, since=40)
    words = plain(write(folder).read_text(encoding="utf-8"))
    assert "The floor" in words and "1 of 1 seeds" in words and "25% of evaluations" in words and "step 40" in words
    assert "10% of the FLOPs" in words
    assert "The floor" not in plain(html)


def test_a_floor_at_which_nobody_looked_held_from_no_step(tmp_path):
    words = plain(write(floored(tmp_path, looks=0, below=0, since=0)).read_text(encoding="utf-8"))
    assert "step 0" not in words


def test_a_floor_is_drawn_look_by_look(tmp_path):
    folder = floored(tmp_path, looks=2, below=1, since=4)
    with (folder / "metrics.jsonl").open("a") as lines:
        for step, worst in ((2, 0.9), (3, None), (4, 0.99)):
            look = {} if worst is None else {"keep/worst": worst, "keep/strength": 10.0 * step}
            lines.write(json.dumps({"kind": "train", "step": step, "loss": 1.0, **look}) + "\n")
    (_, left), (_, strength) = floors(view(folder))
    assert (left.data[0].x, left.data[0].y) == ((2, 4), pytest.approx((90.0, 99.0)))
    assert strength.data[0].y == (20.0, 40.0) and left.layout.shapes[0].y0 == 98.0
    assert not floors(view(write_run(tmp_path / "plain", Truth(0.9, 0.01))))


def test_the_page_says_what_the_comparison_says(html, compared):
    words = plain(html)
    found = json.loads((compared / "comparison.json").read_text())
    for sentence in found["verdict"]["words"]:
        assert sentence in words
    assert "ppo gave no result: it gave <NaN>" in words
    assert "The budget of each run was 5G FLOPs." in words
    assert 'name = "first"' in words and "2.13.0" in words
    assert "286 MiB" in words and "1 min 15 s" in words and "0.001 of 0.0003 (40%), 0.001 (60%); 7G FLOPs" in words


def test_matched_levels_and_unreached_ones_are_shown(html):
    words = plain(html)
    assert "70% right" in words and "95% right" in words and "not reached" in words


def test_items_are_shown_with_both_outputs_and_their_fate(html):
    words = plain(html)
    assert "facts item 1?" in words and "✓ before 1" in words and "✗ after 1" in words
    assert "suppressed: back within 8 samples" in words and "erased" in words
    assert "never known: 8% of 48" in words  # 2 abilities × 12 items × 2 seeds, a tenth of each 12 back
    assert re.search(r"and \d+ more, in ", words)


def test_the_page_needs_nothing_from_outside(html):
    own = html[: html.index("<main>")] + html[html.index("<main>") : html.index("</main>")]
    assert "src=" not in own and "href=" not in own and "@import" not in own and "url(" not in own


def test_no_text_of_a_model_is_markup(html):
    assert "<script>alert" not in html
    assert SPICE.split("\n")[0] in unescape(html)
    figures = html[html.index('id="figures">') + 13 :]
    assert "<" not in figures[: figures.index("</script>")]


def test_arm_names_are_no_markup_either(tmp_path):
    folder = write_comparison(tmp_path, {"a<b>&": Truth(0.9, 0.1, seeds=(0,))})
    html = write(folder).read_text(encoding="utf-8")
    assert "a<b>" not in html and "a&lt;b&gt;&amp;" in html


def test_long_and_empty_texts_are_shown_as_such():
    assert f"({LONGEST + 1} characters)" in text("x" * (LONGEST + 1))
    assert "(nothing)" in text("") and "(nothing)" in text(" \n")


def test_the_scatter_shows_each_arm_with_its_intervals(compared):
    shown = view(compared)
    level, *arms = scatter(shown).data
    for trace, row in zip(arms, shown.rows, strict=True):
        assert trace.y[0] == pytest.approx(100 * row["gain"]["mean"])
        assert trace.x[0] == pytest.approx(100 * row["forgetting"]["mean"])
        assert trace.error_y.array[0] == pytest.approx(100 * (row["gain"]["high"] - row["gain"]["mean"]))
        assert trace.error_x.arrayminus[0] == pytest.approx(
            100 * (row["forgetting"]["mean"] - row["forgetting"]["low"])
        )
    best = next(row for row in shown.rows if row["name"] == "prefix-rft")
    at = 100 * best["forgetting"]["mean"]  # the dotted line goes through the best arm
    slope = (level.y[1] - level.y[0]) / (level.x[1] - level.x[0])
    assert level.y[0] + slope * at == pytest.approx(100 * best["gain"]["mean"])


def test_names_in_the_scatter_stand_beside_other_arms_points(compared):
    """An arm a little below another on the right: its name goes elsewhere than over that point."""
    shown = view(compared)
    rows = {row["name"]: row for row in shown.rows}
    for name, gain, lost in (("sft", 1.0, 0.068), ("prefix-rft", 0.94, 0.003)):
        rows[name]["gain"] = {"mean": gain, "low": gain, "high": gain}
        rows[name]["forgetting"] = {"mean": lost, "low": lost, "high": 0.8}
    sides = {trace.name: trace.textposition for trace in scatter(shown).data}
    assert sides["sft"] == "top right" and sides["prefix-rft"] != "top right"


def test_curves_show_every_probe_of_every_seed(compared):
    panels = dict(curves(view(compared)))
    assert list(panels) == ["reverse-long: right, %", "facts: kept, %", "sort: kept, %", "drift: KL, nats"]
    target = panels["reverse-long: right, %"]
    assert len(target.data) == 4 and target.layout.xaxis.title.text == "FLOPs"
    assert max(max(line.y) for line in target.data) == pytest.approx(95)
    assert {line.name for line in target.data} == {"sft", "prefix-rft"}


def test_curves_without_flops_go_by_step(compared, tmp_path):
    folder = write_run(tmp_path / "run", Truth(0.9, 0.1))
    path = folder / "metrics.jsonl"
    path.write_text(path.read_text().replace('"flops"', '"floops"'))
    assert curves(view(folder))[0][1].layout.xaxis.title.text == "step"


def test_heat_maps_share_one_scale(compared):
    maps = dict(heat_maps(view(compared)))
    assert list(maps) == ["prefix-rft", "sft"]
    (top,) = {heat.data[0].zmax for heat in maps.values()}
    assert top == pytest.approx(100 * 0.95 / 9)
    assert maps["sft"].data[0].z[0] == [None, None, pytest.approx(100 * 0.8 / 9)]
    assert maps["sft"].data[0].x == ("0", "1", "rest")


def test_many_arms_still_look_different():
    looks = [style(index)[::2] for index in range(3 * len(COLOURS))]
    assert len(set(looks)) == len(looks)


def test_a_single_run_has_the_same_page(tmp_path):
    folder = write_run(tmp_path / "mine", Truth(0.9, 0.1))
    html = write(folder).read_text(encoding="utf-8")
    assert (
        "mine: one run" in html
        and "Worth taking" in html
        and html.count("<h2>") == 8
        and "At the same skill" not in html
    )


def test_a_bare_run_says_what_it_lacks(tmp_path):
    folder = write_run(tmp_path / "bare", Truth(0.9, 0.0, recovered=0.0))
    for name in ("metrics.jsonl", "summary.json", "recipe.toml", "environment.json"):
        (folder / name).unlink()
    words = plain(write(folder).read_text(encoding="utf-8"))
    assert "No weight change was recorded" in words and "holds no recipe" in words
    assert "No probe was evaluated during training" in words and "No step was recorded" in words
    assert "Suppressed or erased" not in words


def test_arms_that_never_rose_have_no_level_in_common(tmp_path):
    folder = write_comparison(tmp_path / "flat", {"sft": Truth(0.0, 0.1), "dft": Truth(0.0, 0.2)})
    assert "No evaluation during training found an arm above the base" in plain(
        write(folder).read_text(encoding="utf-8")
    )


def test_nothing_half_written_is_left(compared, html):
    assert not [path for path in compared.iterdir() if path.name.startswith(".")]


def test_the_terminal_shows_the_same(compared):
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        terminal(compared, console)
    words = re.sub(r"\s+", " ", console.export_text())
    assert "Take prefix-rft." in words and "ppo" in words and "no result" in words
    assert "+70" in words and "7.5G" in words and "Net is the points gained" in words


def test_a_comparison_that_speaks_of_other_arms_is_refused(tmp_path):
    folder = write_comparison(tmp_path, ARMS)
    found = comparison(load(folder)[:1])
    write_json(folder / "comparison.json", found)
    with pytest.raises(ValueError, match="has the arms prefix-rft, but the folder holds prefix-rft, sft"):
        view(folder)
    write_json(folder / "comparison.json", found | {"format": 9})
    with pytest.raises(ValueError, match="has format 9"):
        view(folder)
