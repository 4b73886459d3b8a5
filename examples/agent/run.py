"""An agent whose tool calls are gated before they run, and whose runs may risk so much and no more. Offline.

    python examples/agent/run.py [FOLDER]

The planner is a script, for the model is a small one that knows some geography and cannot call tools. What it calls
them *with* is the model's own: asked for a trip to a city, it fills in the country that the model names. The gate
learns from 600 of its calls which of them are right. What it learned is written to FOLDER and used again from there.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from gate.agents import AgentRun, LabelledCall, ToolGate, ToolGateFile, ToolVerdict, fit_tool_gate
from gate.effects import Generate
from gate.pocket.weights import Size
from gate.pocket.world import Fact, Split, facts_of
from gate.types import Generation, Message, TokenLogprob, ToolCall
from gate.upstreams.pocket import PocketUpstream

POLICY = Path(__file__).with_name("tools.yaml")
SAMPLES, LABELLED = 6, 600


@dataclass(frozen=True)
class Planner:
    """Calls tools for cities; what it believes of them is the model's."""

    size: Size

    def call(self, tool: str, city: str, samples: int = SAMPLES) -> tuple[Generation, list[Generation]]:
        """The call it makes, and others it might have made."""
        upstream = PocketUpstream(self.size, self.size)
        question = Generate(self.size, (Message("user", f"Where is {city}?"),), temperature=0.0, logprobs=0, seed=1)
        (draft,) = upstream.complete(question, lambda: False).choices
        sampled = upstream.complete(replace(question, temperature=1.0, n=samples), lambda: False).choices
        return called(tool, city, draft), [called(tool, city, sample) for sample in sampled]


def called(tool: str, city: str, country: Generation) -> Generation:
    """The call as a server would report it, with the country in the tokens that the model wrote it in."""
    arguments = json.dumps({"city": city, "country": country.text}, ensure_ascii=False)
    before = json.dumps({"city": city}, ensure_ascii=False)[:-1] + ', "country": "'
    first, *others = country.tokens or ()
    tokens = [TokenLogprob(before, 0.0), replace(first, token=first.token.lstrip()), *others, TokenLogprob('"}', 0.0)]
    return Generation("", "tool_calls", tuple(tokens), (ToolCall(f"call_{city}", tool, arguments),))


def learned(folder: Path) -> ToolGateFile:
    """From calls whose right country is known: half are booked trips, half questions about the weather."""
    path = folder / "tools.gate.json"
    if path.exists():
        return ToolGateFile.load(path)
    planner, calls = Planner("small"), []
    for number, fact in enumerate(cities("fit")[: LABELLED // 2] + cities("certify")[: LABELLED // 2]):
        draft, samples = planner.call("book_trip" if number % 2 else "look_up_weather", fact.subject)
        right = json.loads(draft.tool_calls[0].arguments)["country"] == fact.answer
        calls.append(LabelledCall(draft, right, tuple(samples), question=fact.subject))
    half = len(calls) // 2
    made = fit_tool_gate(calls[:half], POLICY, certify=calls[half:], labels="GeoNames")
    made.save(path)
    return made


def cities(split: Split) -> list[Fact]:
    return [fact for fact in facts_of(split) if fact.relation == "country"]


KNOWN = {"Chicago": "United States", "Mashhad": "Iran"}


def person(verdict: ToolVerdict) -> bool:
    """Who is asked; here a table."""
    said = json.loads(verdict.call.arguments)
    yes = KNOWN.get(said["city"]) == said["country"]
    print("    a person is asked:", verdict.asking.replace("\n", "\n      "))
    print(f"    {said['city']} in {said['country']}? {'yes' if yes else 'no'}")
    return yes


def main(folder: Path) -> None:
    gate = ToolGate(POLICY, learned(folder))
    for promise in gate.learned.promises if gate.learned else ():
        held = promise.certificate
        shown = f"at most {held.bound:.1%} wrong ({held.errors} of {held.answered})" if held else "nothing"
        print(f"promised of {promise.segment} calls: {promise.alpha:.0%} wrong or less; shown: {shown}")

    planner, large, unfitted = Planner("small"), Planner("large"), ToolGate(POLICY)

    def stronger(verdict: ToolVerdict) -> ToolVerdict:
        draft, samples = large.call(verdict.call.name, json.loads(verdict.call.arguments)["city"], 24)
        instead = unfitted.check(draft, samples=samples)[0]
        # None of its calls are labelled, so another gate goes by agreement. The run lets that approve nothing that
        # cannot be undone, and spends at least what the policy promises of the tool.
        print(f"    the large model: {instead.call.arguments}: {instead.action} ({instead.reason})")
        return instead

    done: list[str] = []

    @gate.tool(name="book_trip", raising=False)
    def book_trip(city: str, country: str) -> str:
        done.append(city)
        return f"booked {city}, {country}"

    @gate.tool(name="look_up_weather", raising=False)
    def look_up_weather(city: str, country: str) -> str:
        return f"sunny in {city}, {country}"

    tools = {"book_trip": book_trip, "look_up_weather": look_up_weather}
    with AgentRun(gate, max_risk=0.1, ask_person=person, escalate=stronger) as run:
        for tool, city in PLAN:
            draft, samples = planner.call(tool, city)
            (verdict,) = run.check(draft, samples=samples)
            p = "" if verdict.p is None else f", p = {verdict.p:.2f}"
            print(f"{tool}({verdict.call.arguments}): {verdict.action} ({verdict.reason}{p})")
            print(f"    {run.call(tools.get(tool, print), verdict)}")
    print(f"spent {run.spent:.3f} of {run.limit}; booked: {', '.join(done)}")
    (folder / "run.json").write_text(run.record().dump(text=True), encoding="utf-8")


PLAN = [
    ("book_trip", "Tianjin"),
    ("book_trip", "Tianjin"),  # again: what cannot be undone is done once
    ("book_trip", "Nanjing"),
    ("look_up_weather", "Kaduna"),
    ("cancel_everything", "Lagos"),  # no such tool
    ("book_trip", "Chicago"),
    ("book_trip", "Mashhad"),
    ("book_trip", "Faisalabad"),  # one risk too many
    ("book_trip", "Hangzhou"),
]


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else "build/agent")
    where.mkdir(parents=True, exist_ok=True)
    main(where)
