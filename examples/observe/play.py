"""The application and the people of the example: who asks, who says what is right, and how it went in the end.

python examples/observe/play.py ask PORT SPLIT N FILE      asks N questions of a split of the pocket world
python examples/observe/play.py label PORT FILE            says of each of these answers whether it is right
python examples/observe/play.py compare FILE FILE          the first file's answers beside the second's
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import httpx
from openai import OpenAI

from gate.evidence.meanings import normalize
from gate.pocket.world import facts_of

AT_ONCE = 8
Row = dict[str, Any]


def ask(port: str, split: str, n: str, to: str) -> None:
    """Ask as any application does: it knows nothing of gate but the address."""
    ready(port)
    client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="unused")

    def one(question: str) -> Row:
        reply = client.chat.completions.with_raw_response.create(
            model="gate", messages=[{"role": "user", "content": question}]
        )
        said = reply.parse().choices[0].message
        return {
            "id": reply.headers["x-gate-decision-id"],
            "question": question,
            "answer": said.content if said.refusal is None else None,
        }

    asked = Random(0).sample([fact.question for fact in facts_of(split)], int(n))  # type: ignore[arg-type]
    rows = at_once(one, asked)
    Path(to).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"asked {len(rows)} questions of the {split} split, {sum(answered(row) for row in rows)} answered")


def label(port: str, path: str) -> None:
    """What a person does in /dashboard/review, or an application that lets its users say so."""
    truth = answers()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        def one(row: Row) -> bool:
            correct = right(row, truth)
            body = {"decision_id": row["id"], "correct": correct}
            if not correct:
                body["answer"] = truth[row["question"]]
            sent = client.post("/v1/feedback", json=body)
            while sent.status_code == 404:  # the answer is out, but what is decided behind it is not in the log yet
                time.sleep(0.2)
                sent = client.post("/v1/feedback", json=body)
            sent.raise_for_status()
            return correct

        said = at_once(one, read(path))
    print(f"labelled {len(said)} answers: {len(said) - sum(said)} wrong")


def compare(observed: str, enforced: str) -> None:
    truth = answers()
    for name, path in (("observed", observed), ("enforced", enforced)):
        rows = read(path)
        out = [row for row in rows if answered(row)]
        wrong = sum(not right(row, truth) for row in out)
        coverage, risk = len(out) / len(rows), wrong / max(1, len(out))
        print(f"{name}: answered {coverage:.1%} of {len(rows)} held-out questions, {risk:.1%} of the answers wrong")


def ready(port: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            if time.monotonic() > until:
                sys.exit(f"nobody answers on port {port}")
        time.sleep(0.2)


def answers() -> dict[str, str]:
    return {fact.question: fact.answer for split in ("fit", "test") for fact in facts_of(split)}  # type: ignore[arg-type]


def answered(row: Row) -> bool:
    return row["answer"] is not None


def right(row: Row, truth: dict[str, str]) -> bool:
    return normalize(row["answer"] or "") == normalize(truth[row["question"]])


def read(path: str) -> list[Row]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def at_once(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


if __name__ == "__main__":
    {"ask": ask, "label": label, "compare": compare}[sys.argv[1]](*sys.argv[2:])
