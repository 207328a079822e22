"""`scalpel check`: exit status and files, on small models."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

import tiny

QUICK = ("--only", "grammar", "--only", "drift")


def test_a_model_against_itself_keeps_all_that_it_has(scalpel):
    ran = scalpel("check", "model", "model", *QUICK, "--floor", "0.9", "--out", "checked")
    assert ran.code == 0, ran.err
    assert "Passed" in ran.out and "kept" in ran.out
    found = json.loads((scalpel.folder / "checked" / "check.json").read_text())
    assert found["status"] == "passed" and found["suite"]["size"] == "quick"
    (grammar,) = found["abilities"]
    assert grammar["items"] == 240 and grammar["lost"] == grammar["gained"] == 0


def test_another_model_fails_and_what_was_lost_is_shown_everywhere(scalpel):
    ran = scalpel("check", "model", "tuned", *QUICK, "--out", "checked")
    found = json.loads((scalpel.folder / "checked" / "check.json").read_text())
    assert found["abilities"][0]["lost"] > 5 and ran.code == {"failed": 1, "undecided": 3}[found["status"]]
    suite = ElementTree.parse(scalpel.folder / "checked" / "junit.xml").getroot()
    assert suite.get("tests") == "1" and suite[0].get("name") == "grammar"
    for name in ("summary.md", "report.html"):
        text = (scalpel.folder / "checked" / name).read_text()
        assert "grammar" in text and "nats a token" in text
    lost = [
        json.loads(line) for line in (scalpel.folder / "checked" / "ledger" / "grammar.jsonl").read_text().splitlines()
    ]
    assert sum(line["verdict"] == "lost" for line in lost) == found["abilities"][0]["lost"]


def test_too_few_items_have_a_status_of_their_own(scalpel):
    rows = [{"good": f"A b {k}.", "bad": f"A {k} c."} for k in range(12)]
    scalpel.write("mine.jsonl", "\n".join(map(json.dumps, rows)))
    ran = scalpel("check", "model", "model", "--only", "drift", "--items", "mine.jsonl", "--floor", "0.999")
    assert ran.code == 3, ran.out + ran.err
    assert "Undecided" in ran.out and "mine" in ran.out


def test_own_questions_are_answered_and_compared(scalpel):
    rows = [{"prompt": f"Say {k}", "answer": str(k)} for k in range(8)]
    scalpel.write("asked.jsonl", "\n".join(map(json.dumps, rows)))
    ran = scalpel("check", "model", "model", "--only", "drift", "--items", "asked.jsonl", "--out", "checked")
    assert ran.code == 3, ran.err
    found = json.loads((scalpel.folder / "checked" / "check.json").read_text())
    assert {row["name"]: row["items"] for row in found["abilities"]} == {"asked": 8}
    assert ran.code == 3 and found["abilities"][0]["decision"] == "the base has too little of it"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--floor", "1.5"), "floor = 1.5"),
        (("--only", "gramar"), "did you mean 'grammar'"),
        (("--items", "nowhere.jsonl"), "no file nowhere.jsonl"),
        (("--items", "probes.toml"), "probes.toml"),
    ],
)
def test_bad_input_is_refused_before_a_model_is_opened(scalpel, arguments, words):
    ran = scalpel("check", "no-model", "model", *arguments, "--out", "checked")
    assert ran.code == 2 and words in " ".join(ran.err.split()), ran.err
    assert not (scalpel.folder / "checked").exists()


def test_a_base_without_a_chat_template_is_asked_in_plain_text(scalpel):
    tiny.folder(scalpel.folder / "plain", seed=0)
    tiny.tokenizer(chat_template=None).save_pretrained(scalpel.folder / "plain")
    (scalpel.folder / "plain" / "chat_template.jinja").unlink(missing_ok=True)
    ran = scalpel("check", "plain", "plain", "--only", "copy", "--only", "drift")
    assert "no chat template" in " ".join((ran.out + ran.err + ran.said).split())
