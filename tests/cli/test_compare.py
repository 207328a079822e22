"""compare and report, from the command line."""

from __future__ import annotations

import signal

import pytest

import scalpel as package


def test_compare_prints_the_arms_and_writes_a_report(scalpel, comparison):
    ran = scalpel("compare", comparison, "--out", "both")
    assert ran.code == 0, ran.err
    assert "sft" in ran.out and "half" in ran.out and "both/report.html" in ran.out
    assert "<html" in (scalpel.folder / "both" / "report.html").read_text()


def test_report_makes_the_page_anew_from_run_folders_alone(scalpel, comparison):
    assert scalpel("compare", comparison, "--out", "both").code == 0
    page = scalpel.folder / "both" / "report.html"
    text = page.read_text()
    page.unlink()
    (scalpel.folder / "recipe.toml").unlink()
    single = scalpel.folder / "both" / "arms" / "sft" / "seed-0"
    ran = scalpel("report", "both", single)
    assert ran.code == 0, ran.err
    assert page.read_text() == text and (single / "report.html").exists()
    assert package.report("both") == page.relative_to(scalpel.folder)


def test_seeds_are_added_until_it_is_decided_and_terminal_and_page_say_at_which_look(scalpel, comparison):
    ran = scalpel("compare", comparison, "--out", "more", "--until-decided", "--most", "3")
    assert ran.code == 0, ran.err
    made = scalpel.json("more/comparison.json")["looks"]["made"]
    assert [one["seeds"] for one in made] == [2, 3][: len(made)]
    page = (scalpel.folder / "more" / "report.html").read_text()
    assert f"look {len(made)} of 2" in ran.out and f"look {len(made)} of 2" in page
    assert "--until-decided" in scalpel.refused("compare", comparison, "--out", "other", "--most", "2")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("compare.arms=[]", "nothing to compare"),
        ('compare.arms=[{name = "a", method = "stf"}]', "did you mean 'sft'?"),
        ('compare.arms=[{name = "a", method = "sft", stepz = 3}]', "did you mean 'steps'?"),
        ('compare.arms=[{name = "a", method = "distill"}]', "[models]"),
        ('compare.equal_to="sfd"', "sfd"),
        ("measure.probes=[]", "nothing to measure"),
        ('compare.budget="money"', "flops"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused_before_anything_runs(scalpel, comparison, override, words):
    assert words in scalpel.refused("compare", comparison, override)


def test_a_comparison_is_not_overwritten(scalpel, comparison):
    assert scalpel("compare", comparison, "--out", "both").code == 0
    assert "--resume" in scalpel.refused("compare", comparison, "--out", "both")


def test_ctrl_c_keeps_what_is_finished_and_resume_ends_as_if_nothing_had_happened(scalpel, comparison, monkeypatch):
    import scalpel.training.loop as module

    assert scalpel("compare", comparison, "--out", "whole").code == 0
    real, count = module.take_step, iter(range(100))

    def taken(*arguments):
        if next(count) == 5:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "take_step", taken)
        ran = scalpel("compare", comparison, "--out", "cut")
    assert ran.code == 130 and "--resume" in ran.said and "Traceback" not in ran.err
    assert not (scalpel.folder / "cut" / "report.html").exists()
    with monkeypatch.context() as patch:  # what the base does was seen already
        patch.setattr("scalpel.experiments.compare.probe_base", None)
        assert scalpel("compare", comparison, "--out", "cut", "--resume").code == 0
    whole, cut = (sorted((scalpel.folder / name).rglob("delta.safetensors")) for name in ("whole", "cut"))
    assert len(whole) == 4
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in cut]
