"""Ask from Python: the outcome, why it was decided so, and what another policy would have made of it.

python examples/python/ask.py "Where is Nanjing?"
"""

from __future__ import annotations

import asyncio
import sys

import gate


def main(text: str) -> None:
    gateway = gate.load_gateway("balanced")
    question = gate.Question.from_text(text)

    outcome, trace = gateway.ask(question)
    print(f"{outcome.action}: {outcome.text}")
    for step in outcome.steps:
        p = step.decision.confidence.p if step.decision.confidence else float("nan")
        print(f"  {step.decision.stage.key}: p = {p:.3f}, {step.decision.action} ({step.decision.reason})")

    again, _ = asyncio.run(gateway.aask(question))
    print(f"on an event loop: {again.action}: {again.text}")

    replayed = gateway.replay(trace)
    print(f"replayed, with no calls: {replayed.action}: {replayed.text}")
    gateway.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "Where is Nanjing?")
