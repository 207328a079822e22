"""Entity tracking: things are in boxes and are moved; the question is where a thing is, or what a box contains.

    boxes: cup 1, hat 2. cup to 3. 2 to 3. in 3?  →  cup hat

`2 to 3` empties box 2 into box 3, so a thing can move without being named.
"""

from __future__ import annotations

from random import Random

from scalpel.world.pick import number, pick
from scalpel.world.task import Draft, world_task

THINGS = ("cup", "hat", "key", "map", "pen", "toy")
NOTHING = "none"


def boxes(rng: Random, *, boxes: int, things: int, moves: int) -> Draft:
    """Two to `things` things, one to `moves` moves among `boxes` boxes."""
    named = rng.sample(THINGS, number(rng, 2, things))
    place = {thing: number(rng, 1, boxes) for thing in named}
    story = ", ".join([f"{thing} {box}" for thing, box in place.items()]) + "."
    for _ in range(number(rng, 1, moves)):
        story += " " + _move(rng, place, boxes) + "."
    if rng.random() < 0.6:
        thing = pick(rng, named)
        question, answer = f" {thing}?", str(place[thing])
    else:
        box = number(rng, 1, boxes)
        inside = [thing for thing in named if place[thing] == box]
        question, answer = f" in {box}?", " ".join(inside) or NOTHING
    return Draft("boxes", story + question, f"boxes: {story}{question}", answer, answer)


def _move(rng: Random, place: dict[str, int], boxes: int) -> str:
    """Moves one thing, or everything in its box, to another box; returns the text that says so."""
    thing = pick(rng, list(place))
    source = place[thing]
    target = (source + number(rng, 0, boxes - 2)) % boxes + 1
    if rng.random() < 0.2:
        for other, box in place.items():
            if box == source:
                place[other] = target
        return f"{source} to {target}"
    place[thing] = target
    return f"{thing} to {target}"


BOXES = world_task("boxes", boxes, boxes=3, things=3, moves=2)
