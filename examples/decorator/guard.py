"""Guard functions that ask a model: what comes back, where more answers come from, and what was decided.

python examples/decorator/guard.py

The model is the pocket model in this process; put a client of yours in its place.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gate
from gate.effects import Generate
from gate.types import Message
from gate.upstreams.pocket import PocketUpstream

POLICY = Path(__file__).with_name("policy.yaml")
MODEL = PocketUpstream("mine", "small")
SEEDS = itertools.count()  # so that each run of this shows the same


def complete(model: str, messages: list[dict[str, str]], temperature: float = 0.0, n: int = 1) -> dict[str, Any]:
    """Stands in for ``client.chat.completions.create``: takes what that takes, and gives what that gives."""
    asked = tuple(Message(message["role"], message["content"]) for message in messages)
    effect = Generate("mine", asked, n=n, temperature=temperature, seed=next(SEEDS))
    made = MODEL.complete(effect, lambda: False)
    choices = [{"message": {"role": "assistant", "content": choice.text}} for choice in made.choices]
    usage = {"prompt_tokens": made.usage.prompt_tokens, "completion_tokens": made.usage.completion_tokens}
    return {"object": "chat.completion", "model": made.model, "choices": choices, "usage": usage}


def said(question: str, temperature: float = 0.0) -> str:
    reply = complete("small", [{"role": "user", "content": question}], temperature)
    return str(reply["choices"][0]["message"]["content"])


# Where nothing is said, an answer that is not let through is an exception.
@gate.guard(policy=POLICY, samples="again")
def answer(question: str) -> str:
    """Called again for samples: its temperature makes them differ."""
    return said(question, temperature=0.5)


captured = gate.capture(complete)


# The one request it makes is repeated at gate's own temperature; the function is called once.
@gate.guard(policy=POLICY, samples="captured", default="(nothing)")
def look_up(topic: str, style: str) -> str:
    reply = captured("small", [{"role": "user", "content": f"Where is {topic}?"}])
    return str(reply["choices"][0]["message"]["content"])


# A shipped policy, which does more than judge: it looks the answer up, or asks a larger model. It may, for the function
# asks the model that the policy begins with; which then draws the samples too.
@gate.guard(policy="balanced", written_by="small", on_abstention="return")
async def looked_up(question: str) -> str:
    return await asyncio.to_thread(said, question)


# Nothing of it is seen before the verdict.
@gate.guard(policy=POLICY, samples="again", default="(nothing)")
async def pieces(question: str) -> AsyncIterator[str]:
    for word in said(question, temperature=0.5).split(" "):
        yield word + " "


async def on_a_loop() -> None:
    for question in ("Where is Cairo?", "Where is Xanadu?"):
        found = await looked_up(question)
        told = f"abstained ({found.reason}): {found}" if isinstance(found, gate.Abstained) else found
        print(f"returned: {told}")
    print("in pieces:", "".join([piece async for piece in pieces("Where is Mumbai?")]))


def main() -> None:
    for question in ("Where is Mumbai?", "Where is Xanadu?"):
        try:
            print(f"answered: {answer(question)}")
        except gate.AnswerWithheld as withheld:
            print(f"withheld: {withheld}")
    for topic in ("Mumbai", "Quito"):
        print(f"or default: {look_up(topic, 'short')}")
    asyncio.run(on_a_loop())

    decided = answer.decided("Where is Toronto?")
    print(f"with its decision: {decided.value} (p = {decided.p:.2f}, {decided.reason}, {decided.cost.calls} calls)")
    for each in answer.decisions:
        print(f"  {each.action}: {each.outcome.generation.text if each.outcome.generation else '-'} ({each.reason})")
    print(f"called {answer.calls.total} times, {answer.calls.again} of them for samples")
    print(f"look_up was called {look_up.calls.total} times, and {look_up.calls.repeated} requests were repeated")


if __name__ == "__main__":
    main()
