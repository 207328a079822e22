"""The page of claims with its picture, and the proof that results follow from their numbers."""

import json
from xml.etree import ElementTree

from claim_folder import FAST_GAINS
from scalpel.claims.forest import drawn

CLEAR = {"fast": lambda seed: 0.7 + 0.02 * (seed % 2), "slow": lambda seed: 0.2}
GROUPS = '[scopes]\nquestion = "Which weights?"\nlearnt = "Take the large step."\n'


def test_the_page_shows_what_was_seen_and_what_is_planned(place, pretended):
    place.claim("other", FAST_GAINS.replace('"scopes"', '"credit"'))
    place.claim("steps", FAST_GAINS)
    place.write("claims/groups.toml", GROUPS)
    pretended(CLEAR)
    assert "Take the large step." not in page(place), "nothing was learnt yet"
    assert place("claim", "steps").code == 0
    text = page(place)
    first, rest = text.split("## Credit")
    assert "| [steps](#steps) | 51 points (" in first and "| replicates | 1 of 1 agree |" in first
    assert "| [other](#other) | – | ten times as far | not run yet |" in first and "(page.svg)" in first
    assert "at most 0.025 would come out as a false “replicates”" in first
    other, steps = rest.split("## Which weights?")
    assert "**Not run yet.**" in other and "That weights move further." in other
    assert steps.strip().startswith("**Take the large step.**")
    assert "**Replicates, after 2 seeds: 51 points" in steps and "where 10 points matter.**" in steps
    assert text.index("## Costs") > text.index("### steps")


def page(place) -> str:
    ran = place("claim", "--page", "page.md")
    assert ran.code == 0, ran.err
    return (place.folder / "page.md").read_text()


def test_check_tells_when_the_page_or_its_picture_is_out_of_date(place, pretended):
    pretended(CLEAR)
    place.claim(claim=FAST_GAINS)
    missing = place("claim", "--page", "page.md", "--check")
    assert missing.code == 2 and not (place.folder / "page.md").exists()
    assert place("claim", "steps", "--page", "page.md").code == 0
    assert place("claim", "--page", "page.md", "--check").code == 0
    (place.folder / "page.svg").write_text("old")
    stale = place("claim", "--page", "page.md", "--check")
    assert stale.code == 2 and "run `scalpel claim --page page.md`" in stale.said


def test_check_proves_that_a_result_follows_from_its_numbers(place, pretended):
    pretended(CLEAR)
    place.claim(claim=FAST_GAINS)
    assert place("claim", "steps").code == 0 and place("claim", "--check").code == 0
    path, true = place.folder / "claims/steps/result.json", place.json("claims/steps/result.json")
    path.write_text(json.dumps(true | {"verdict": "absent"}))
    assert "its verdict is 'absent', but its numbers give 'replicates'" in place.refused("claim", "--check")
    changed = json.loads(json.dumps(true))
    changed["rows"][0]["numbers"]["2"] = [0.2, 0.2]
    path.write_text(json.dumps(changed))
    assert "its numbers give 'inconclusive'" in place.refused("claim", "--check")
    path.write_text(json.dumps(true | {"alpha": [0.01, 0.03]}))
    assert "looks that were taken have been changed" in place.refused("claim", "--check")
    path.write_text(json.dumps(true | {"digest": "another"}))
    assert "another version of the claim" in place.refused("claim", "--check")


def test_the_picture_is_in_units_of_what_matters_with_arrows_for_what_lies_outside():
    def found(mean, half, verdict):
        difference = {"mean": mean, "low": mean - half, "high": mean + half}
        return {"verdict": verdict, "rows": [{"matters": 0.05, "difference": difference}]}

    picture = drawn([("near", found(0.1, 0.05, "replicates")), ("far & off", found(0.6, 0.05, "replicates"))])
    root = ElementTree.fromstring(picture)
    tags = [element.tag.rpartition("}")[2] for element in root]
    assert tags.count("circle") == 1 and tags.count("path") == 2
    words = [element.text for element in root if element.tag.endswith("text")]
    assert "near" in words and "far & off" in words and "replicates" in words and "12" in words
