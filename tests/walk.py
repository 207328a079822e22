"""Every method of the table, some steps each, on one model: whether it runs, what a step takes, how the loss goes.

The material suits all of them: sums of three numbers with worked steps, an answer, a preferred and a rejected solution
and a verdict; rewarded is how near the last number that is said comes to the answer. Roles beside the policy are played
by the same model after a few steps on the solutions, so that they don't say what it says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from transformers.utils import logging

from scalpel import api, tasks
from scalpel.claims.origin import commit
from scalpel.config.merge import merge
from scalpel.config.recipe import Recipe, parse
from scalpel.device import peak_memory
from scalpel.evaluation.number_words import duration, listed, memory
from scalpel.methods import ROWS
from scalpel.registry import unknown
from scalpel.reporting.catalogue import markdown
from scalpel.runs.folder import environment, write_json, write_text
from scalpel.training.loop import train

DOCS = Path(__file__).parents[1] / "docs"
MODEL, STEPS = "smollm2-135m-instruct", 10
SUMS = {"name": "world/chains", "least": 3, "most": 3, "largest": 9}
LAST_NUMBER = r"(-?\d+)(?!.*\d)"
ROLES = ("teacher", "weak", "reward")
ASK = " The answer is one number. Say nothing else."  # so that some samples end within the few tokens that they have
FORMS = {  # of answers that a row pays for to the letter: two that the model sees before its question
    "cls-rl": "<think>{sum}={answer}</think><answer>{answer}</answer>",
    "cls-rl-no-thinking": "{answer}",
}
REWARD = '''
import re

def near(completions, answer, **columns):
    """1 where the last number said is off by two at most, less the further it is, 0 where none is said."""
    texts = [text if isinstance(text, str) else text[0]["content"] for text in completions]
    said = [re.findall(r"-?\\d+", text) for text in texts]
    return [min(1.0, 3 / (1 + abs(int(n[-1][:9]) - int(a)))) if n else 0.0 for n, a in zip(said, answer)]
'''


def prepare(at: Path, n: int = 96, ask: str = "") -> Path:
    """Rows with every column that a source may ask for, and the reward. Where `ask` is said it goes behind each
    question, and the methods in FORMS get files of their own, in which two answers in that form stand before it."""
    examples = tasks.make(SUMS).examples("train", n)
    rows = []
    for i, (one, other) in enumerate(zip(examples, [*examples[1:], examples[0]], strict=True)):
        prompt = [{**turn, "content": turn["content"] + ask} for turn in one.prompt]
        row = {"prompt": prompt, "completion": one.completion, "answer": one.answer}
        rows.append({**row, "chosen": one.completion, "rejected": other.completion, "label": i % 2 == 0})
    write_rows(at / "rows.jsonl", rows)
    for method, form in FORMS.items() if ask else ():
        write_rows(at / f"{method}.jsonl", [{**row, "prompt": after_two(i, rows, form)} for i, row in enumerate(rows)])
    (at / "reward.py").write_text(REWARD)
    return at


def write_rows(at: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    at.write_text("".join(json.dumps(row) + "\n" for row in rows))


def after_two(i: int, rows: Sequence[Mapping[str, Any]], form: str) -> list[dict[str, str]]:
    """Question i behind the two before it with their answers in that form."""
    turns = []
    for row in (rows[i - 2], rows[i - 1]):
        question = row["prompt"][-1]["content"]
        answer = form.format(sum=question.split()[1], answer=row["answer"])
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [*turns, *rows[i]["prompt"]]


def relative(at: Path, model: str) -> str:
    """The model after ten steps on the solutions, as a folder."""
    made = recipe("sft", at, model, 10).model_dump(exclude_none=True, by_alias=True)
    return str(api.train(made, ["stages.0.learning_rate=1e-4"], out=at / "relative") / "model")


def recipe(row: str, at: Path, model: str, steps: int, beside: str = "", **over: Any) -> Recipe:
    """The row with its own settings on that material; small batches, since it is to run and not to teach. `beside`
    plays the roles, the model itself if unsaid; `over` are tables that go over these."""
    own = at / f"{row}.jsonl"
    table = {
        "name": row,
        "model": {"path": model},
        "models": dict.fromkeys(ROLES, beside or model),
        "task": {
            "name": "jsonl",
            "path": str(own if own.exists() else at / "rows.jsonl"),
            "shares": {"train": 0.7, "tune": 0.1, "keep": 0.1, "test": 0.1},
            "verify": {"name": "pattern", "pattern": LAST_NUMBER},
        },
        "data": {"items": 64, "rewards": [f"{at / 'reward.py'}:near"]},
        "train": {"method": row, "steps": steps, "batch": 2, "sampling": {"max_tokens": 24}},
    }
    return parse(merge(table, over))


def walked(row: str, at: Path, model: str, steps: int, beside: str = "") -> dict[str, Any]:
    """The record of one row; what stops it is part of it. Steps in which nothing was trained have no loss."""
    records: list[dict[str, Any]] = []
    found: dict[str, Any] = {"row": row, "commit": commit(), "error": ""}
    try:
        made = recipe(row, at, model, steps, beside)
        run = train(made, tell=lambda record: records.append(dict(record)))
        found["peak_memory_bytes"] = peak_memory(run.device)
    except Exception as error:  # any fault is a finding here: it goes into the table
        found["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
    clock = [0.0, *(record["seconds"] for record in records)]
    took = [later - earlier for earlier, later in zip(clock, clock[1:], strict=False)]
    trained = [record for record in records if "tokens_trained_share" in record]
    found |= {"steps": len(records), "trained": len(trained), "seconds": median(took) if took else None}
    ends = [trained[0], trained[-1]] if trained else []
    return found | {"loss": [r["loss"] for r in ends], "gradient_norm": [r["gradient_norm"] for r in ends]}


def apart(row: str, at: Path, model: str, steps: int, beside: str = "") -> dict[str, Any]:
    """The same in a process of its own, so that its memory is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(walked, row, at, model, steps, beside).result()
        except Exception as error:  # the process died
            died = {"row": row, "commit": commit(), "error": f"{type(error).__name__}: {error}".splitlines()[0]}
            return {**died, "steps": 0, "trained": 0, "seconds": None, "loss": [], "gradient_norm": []}


HEAD = """# Every method, ten steps on a real model

How long a step of each method takes on a model of 135M parameters, and how much memory it needs. To measure one method,
or all of them:

```
scripts/walk grpo
scripts/walk
```

Each row of [the table of methods](methods.md) was trained for {steps} optimiser steps on `{model}`, with the row's own
settings, two prompts per step and at most 24 sampled tokens. The table shows that the method runs, the time of a step,
and the first and last loss and gradient norm. Teachers and judges are the same model after ten steps on the solutions.
A row with several stages takes {steps} steps in each. Steps in which there is nothing to learn, for example because no
sample was accepted, don't count as trained. For two rows whose reward requires an exact format, the prompt contains two
answers in that format.

Don't compare losses of different rows: the loss of a policy gradient is near zero at the first update on a batch,
whatever is learnt. Don't compare their times either: rows of different commits may be from different machines, and
other processes may have been running.

{machine}

"""
HEADINGS = (
    "method",
    "one step",
    "steps",
    "trained",
    "loss, first → last",
    "gradient norm",
    "peak memory",
    "commit",
    "",
)


def page(walk: Mapping[str, Any]) -> str:
    """docs/walk.md, from docs/walk.json."""
    around = walk["environment"]
    versions = listed([f"{name} {around[name]}" for name in ("torch", "transformers") if name in around])
    machine = f"Python {around['python']}, {versions}; {around['device']}, {around['threads']} threads."
    head = HEAD.format(steps=walk["steps"], model=walk["model"], machine=machine)
    return head + markdown(HEADINGS, [line(walk["rows"][row]) for row in ROWS if row in walk["rows"]])


def line(found: Mapping[str, Any]) -> tuple[str, ...]:
    loss, norm = (" → ".join(f"{value:.3g}" for value in found[key]) or "–" for key in ("loss", "gradient_norm"))
    spent = (duration(found["seconds"]), str(found["steps"]), str(found["trained"]))
    return (
        f"`{found['row']}`",
        *spent,
        loss,
        norm,
        memory(found.get("peak_memory_bytes")),
        found["commit"],
        found["error"],
    )


def asked(names: Sequence[str], known: Mapping[str, Any], missing: bool) -> list[str]:
    for name in names:
        if name not in ROWS:
            raise SystemExit(unknown("method", name, ROWS))
    return [row for row in ROWS if (not names or row in names) and not (missing and row in known)]


def main(arguments: Sequence[str]) -> int:
    """Walks, and writes the table after each row, so that what is done stays done."""
    parser = argparse.ArgumentParser(prog="scripts/walk", description=__doc__.split("\n")[0])
    parser.add_argument("methods", nargs="*", help="all of them unless named")
    parser.add_argument("--missing", action="store_true", help="only those that the table does not have yet")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--ask", default=ASK, help="what goes behind each question; empty for models without words")
    parser.add_argument("--into", type=Path, default=DOCS, help="the folder of walk.json and walk.md")
    options = parser.parse_args(arguments)
    path = options.into / "walk.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    about = {"model": options.model, "steps": options.steps}
    done = dict(before.get("rows", {})) if about.items() <= before.items() else {}
    failed = 0
    with TemporaryDirectory() as folder:
        at = prepare(Path(folder), ask=options.ask)
        beside = relative(at, options.model)
        for row in asked(options.methods, done, options.missing):
            done[row] = apart(row, at, options.model, options.steps, beside)
            failed += bool(done[row]["error"])
            kept = {name: done[name] for name in ROWS if name in done}  # in the table's order; rows that are gone go
            walk = {"format": 1, **about, "environment": environment(), "rows": kept}
            write_json(path, walk)
            write_text(options.into / "walk.md", page(walk))
            print("  ".join(line(done[row])), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    logging.disable_progress_bar()
    sys.exit(main(sys.argv[1:]))
