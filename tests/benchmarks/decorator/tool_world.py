"""A world of tools, tasks with known right calls, and a simulated model that gets some of them wrong.

Nothing here is a real model: it is a simulation, made to be no easier than the real thing in the ways that matter.

- Every task has a difficulty; tasks of one run share a part of it.
- For the tool and for every argument the model has a distribution over the right value and wrong ones: another entity,
  two arguments swapped, amounts off by one or in the wrong unit, ids that do not exist, a value of the task before.
  Arguments are left out and made up.
- In some tasks it has misread something: then it is sure of a wrong value, and its samples repeat it.
- It writes some values now in one way, now in another that means the same: samples disagree there, and nothing is
  wrong.
- Most of what is in a call was settled before it is written, in the reasoning ahead of it: its tokens are then near
  certain whatever the doubt was. The log-probabilities of the rest follow the distribution, too sure of themselves,
  with noise. Most tokens of a call are syntax, and say nothing.
- The draft is the model at temperature 0.7, the samples are at temperature 1.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from gate.types import Generation, TokenLogprob, ToolCall

SAMPLES = 6
CITIES = ("Oslo", "Lima", "Lagos", "Quito", "Kyoto", "Turin", "Porto", "Perth", "Dakar", "Hanoi", "Basel", "Cork")
PEOPLE = ("a.moreau", "a.moran", "j.lind", "j.lindt", "k.osei", "k.oseni", "m.sato", "m.saito", "r.diaz", "r.dias")
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "NOK")
FREE = ("Thanks", "As agreed", "For your records", "Best wishes", "See below", "Following up")


@dataclass(frozen=True)
class Kind:
    """Of an argument: what may stand in it."""

    name: str
    values: tuple[Any, ...] = ()
    schema: Mapping[str, Any] | None = None


CITY = Kind("city", CITIES, {"type": "string"})
PERSON = Kind("person", PEOPLE, {"type": "string"})
CURRENCY = Kind("currency", CURRENCIES, {"enum": list(CURRENCIES)})
AMOUNT = Kind("amount", (), {"type": "number", "exclusiveMinimum": 0})
COUNT = Kind("count", (1, 2, 3, 4, 5, 6), {"type": "integer", "minimum": 1, "maximum": 9})
DAY = Kind("day", (), {"type": "string", "pattern": "^2031-[01][0-9]-[0-3][0-9]$"})
ID = Kind("id", (), {"type": "string", "pattern": "^[A-Z]-[0-9]{4}$"})
TEXT = Kind("text", FREE, {"type": "string"})


@dataclass(frozen=True)
class ToolKind:
    name: str
    arguments: Mapping[str, Kind]
    irreversible: bool = False
    optional: frozenset[str] = frozenset()


TOOLS = {
    tool.name: tool
    for tool in (
        ToolKind("search_flights", {"origin": CITY, "destination": CITY, "day": DAY}),
        ToolKind("get_weather", {"city": CITY, "day": DAY}),
        ToolKind("convert_currency", {"amount": AMOUNT, "source": CURRENCY, "target": CURRENCY}),
        ToolKind("list_invoices", {"customer": PERSON, "since": DAY}, optional=frozenset({"since"})),
        ToolKind("find_order", {"customer": PERSON, "order": ID}),
        ToolKind("draft_email", {"to": PERSON, "subject": TEXT}, optional=frozenset({"subject"})),
        ToolKind("set_reminder", {"person": PERSON, "day": DAY}),
        ToolKind("book_flight", {"flight": ID, "origin": CITY, "destination": CITY, "seats": COUNT}, irreversible=True),
        ToolKind("pay_invoice", {"invoice": ID, "amount": AMOUNT, "currency": CURRENCY}, irreversible=True),
        ToolKind("transfer", {"source": PERSON, "target": PERSON, "amount": AMOUNT, "note": TEXT}, irreversible=True),
        ToolKind("cancel_order", {"order": ID, "items": COUNT}, irreversible=True, optional=frozenset({"items"})),
        ToolKind("send_email", {"to": PERSON, "subject": TEXT}, irreversible=True, optional=frozenset({"subject"})),
    )
}
MIXED_UP = {
    "search_flights": "book_flight",
    "book_flight": "search_flights",
    "draft_email": "send_email",
    "send_email": "draft_email",
    "pay_invoice": "list_invoices",
    "find_order": "cancel_order",
    "cancel_order": "find_order",
}


@cache
def policy() -> dict[str, Any]:
    """The tool policy of this world, as a dict."""
    tools: dict[str, Any] = {}
    for tool in TOOLS.values():
        required = [name for name in tool.arguments if name not in tool.optional]
        properties = {name: dict(kind.schema or {}) for name, kind in tool.arguments.items()}
        tools[tool.name] = {
            "irreversible": tool.irreversible,
            "schema": {
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": False,
            },
            "arguments": {name: {"critical": False} for name, kind in tool.arguments.items() if kind is TEXT},
        }
    return {"max_error": {"reversible": 0.05, "irreversible": 0.02}, "confidence": 0.95, "tools": tools}


@dataclass(frozen=True)
class Task:
    name: str
    tool: str
    arguments: Mapping[str, Any]
    """That are right."""
    difficulty: float
    """Of 1; about the chance of the model to be unsure of something."""
    stale: Mapping[str, Any]
    """The arguments of the task before."""


@dataclass(frozen=True)
class Attempt:
    """What the simulated model made of a task."""

    task: Task
    draft: Generation
    samples: tuple[Generation, ...]
    right: bool
    error: str
    """The kind of the first error in the draft; "" where it is right."""


def tasks(n: int, seed: int, *, run: int | None = None) -> Iterator[Task]:
    """So many; of one run, where its number is given: then they share a part of their difficulty."""
    draw = random.Random(f"tasks {seed} {run}")
    shared = draw.betavariate(1.2, 4) if run is not None else None
    before: Mapping[str, Any] = {}
    for number in range(n):
        tool = draw.choice(tuple(TOOLS.values()))
        said = {name: _value(kind, draw) for name, kind in tool.arguments.items()}
        for name in tool.optional:
            if draw.random() < 0.4:
                del said[name]
        own = draw.betavariate(1.2, 4)
        difficulty = own if shared is None else (own + shared) / 2
        yield Task(f"{seed} {run} {number}", tool.name, said, difficulty, before)
        before = said


def attempt(task: Task, *, samples: int = SAMPLES) -> Attempt:
    draw = random.Random(f"attempt {task.name}")
    mind = _Mind.of(task, draw)
    said, error = mind.call(draw, temperature=0.7)
    draft = _written(*said, mind, draw)
    others = tuple(_unread(*mind.call(draw, temperature=1.0)[0]) for _ in range(samples))
    return Attempt(task, draft, others, _right(task, *said), error)


def _right(task: Task, name: str, arguments: Mapping[str, Any]) -> bool:
    """Free text may be worded in any way."""
    if name != task.tool:
        return False
    kinds = TOOLS[name].arguments
    said = {n: _meant(kinds[n], value) if n in kinds else value for n, value in arguments.items()}
    texts = {n for n, kind in kinds.items() if kind is TEXT}
    wanted = {n: value for n, value in task.arguments.items() if n not in texts}
    return {n: value for n, value in said.items() if n not in texts} == wanted


def _meant(kind: Kind, value: Any) -> Any:
    """The value in the way it is written in the task."""
    return next((each for each in kind.values if value == OTHER_WAYS.get(kind.name, "{}").format(each)), value)


def _value(kind: Kind, draw: random.Random) -> Any:
    if kind.values:
        return draw.choice(kind.values)
    if kind is AMOUNT:
        return draw.choice((draw.randint(5, 900), round(draw.uniform(5, 900), 2)))
    if kind is DAY:
        return f"2031-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"
    return f"{draw.choice('ABKT')}-{draw.randint(0, 9999):04d}"


# --- the model ---------------------------------------------------------------------------------------------------

Beliefs = list[tuple[Any, float, str]]
"""Values, how likely the model writes each, and what kind of error each is."""
LEFT_OUT = object()
OTHER_WAYS = {"city": "City of {}", "person": "{}@corp.example"}
"""How else a value is written."""


@dataclass(frozen=True)
class _Mind:
    """What the model believes of one task."""

    tool: Beliefs
    arguments: Mapping[str, Beliefs]
    extra: float
    """Chance of an argument that is made up."""
    swaps: tuple[str, str] | None
    """Two arguments it would exchange, both or neither."""
    swapped: float
    sure: float
    """How much too sure its log-probabilities are."""
    loose: float
    """Noise in them."""
    settled: float
    """Share of what it writes that was settled before."""
    wavering: Mapping[str, str]
    """How else it writes an argument, where it does not always write it in the same way."""

    @classmethod
    def of(cls, task: Task, draw: random.Random) -> _Mind:
        tool = TOOLS[task.tool]
        misread = draw.random() < 0.08 * task.difficulty  # something, and surely
        victim = draw.choice([*task.arguments, "", "both"]) if misread else None
        other = MIXED_UP.get(tool.name)
        beliefs = {
            name: _beliefs(value, _wrongs(tool.arguments[name], name, value, task, draw), task, name == victim, draw)
            for name, value in task.arguments.items()
        }
        names: Beliefs = [(tool.name, 1.0, "")]
        if other:
            names = _beliefs(tool.name, [(other, "wrong tool")], task, victim == "", draw, 0.35)
        same = [
            (a, b) for a in tool.arguments for b in tool.arguments if a < b and tool.arguments[a] is tool.arguments[b]
        ]
        same = [pair for pair in same if set(pair) <= set(task.arguments)]
        swapped = draw.uniform(0.8, 1.0) if victim == "both" else 0.5 * task.difficulty**2
        return cls(
            names,
            beliefs,
            0.03 * task.difficulty,
            draw.choice(same) if same else None,
            swapped,
            draw.uniform(1.1, 1.8),
            draw.uniform(0.3, 1.0),
            draw.uniform(0.4, 0.9),
            {n: OTHER_WAYS[k.name] for n, k in tool.arguments.items() if k.name in OTHER_WAYS and draw.random() < 0.2},
        )

    def call(self, draw: random.Random, temperature: float) -> tuple[tuple[str, dict[str, Any]], str]:
        name, error = _drawn(self.tool, draw, temperature)
        errors, said = [error], {}
        for argument, beliefs in self.arguments.items():
            value, error = _drawn(beliefs, draw, temperature)
            errors.append(error)
            if value is not LEFT_OUT:
                said[argument] = value
        said = {
            n: self.wavering[n].format(v) if n in self.wavering and draw.random() < 0.4 else v for n, v in said.items()
        }
        if self.swaps and _drawn([(True, self.swapped, ""), (False, 1 - self.swapped, "")], draw, temperature)[0]:
            one, other = self.swaps
            if one in said and other in said and said[one] != said[other]:
                said[one], said[other] = said[other], said[one]
                errors.append("swapped arguments")
        if draw.random() < self.extra:
            said["priority"] = "high"
            errors.append("extra argument")
        if name not in (self.tool[0][0],):
            said = {key: value for key, value in said.items() if key in TOOLS[name].arguments}
        return (name, said), next((error for error in errors if error), "")


def _wrongs(kind: Kind, name: str, value: Any, task: Task, draw: random.Random) -> list[tuple[Any, str]]:
    """Values that the model may take for the right one, likeliest first."""
    if kind is TEXT:
        return [(text, "") for text in draw.sample(FREE, 3)]
    found: list[tuple[Any, str]] = []
    stale = task.stale.get(name)
    if stale is not None and stale != value and draw.random() < 0.4:
        found.append((stale, "stale context"))
    if kind is AMOUNT:
        found += [(value * 100, "wrong unit"), (value + 1, "off by one"), (round(value / 10, 2) or 1, "wrong unit")]
    elif kind is COUNT:
        found += [(value + 1, "off by one"), (max(1, value - 1), "off by one")]
    elif kind is ID:
        found += [(f"{value[:2]}{draw.randint(0, 9999):04d}", "invented id"), (value[:-1] + "0", "off by one")]
    elif kind is DAY:
        found += [(f"{value[:8]}{int(value[8:]) % 28 + 1:02d}", "off by one"), (_value(kind, draw), "wrong entity")]
    else:
        found += [(each, "wrong entity") for each in draw.sample([v for v in kind.values if v != value], 2)]
    draw.shuffle(found)
    if draw.random() < 0.2:
        found.append((LEFT_OUT, "missing argument"))
    return [(each, error) for each, error in found if each != value]


def _beliefs(
    right: Any, wrongs: Sequence[tuple[Any, str]], task: Task, misread: bool, draw: random.Random, share: float = 1.0
) -> Beliefs:
    if misread and wrongs:
        sure = draw.uniform(0.75, 1.0)
        return [(right, 1 - sure, ""), (wrongs[0][0], sure, wrongs[0][1])]
    doubt = share * task.difficulty * draw.betavariate(0.5, 1.3)
    parts = [draw.gammavariate(0.6, 1.0) + 1e-9 for _ in wrongs]
    rest = [(each, doubt * part / sum(parts), error) for (each, error), part in zip(wrongs, parts, strict=True)]
    return [(right, 1 - doubt if rest else 1.0, ""), *rest]


def _drawn(beliefs: Beliefs, draw: random.Random, temperature: float) -> tuple[Any, str]:
    weights = [p ** (1 / temperature) for _, p, _ in beliefs]
    value, _, error = draw.choices(beliefs, weights)[0]
    return value, error


# --- on the wire -------------------------------------------------------------------------------------------------


def _unread(name: str, arguments: Mapping[str, Any]) -> Generation:
    return Generation("", "tool_calls", tool_calls=(ToolCall("", name, json.dumps(arguments)),))


def _written(name: str, arguments: Mapping[str, Any], mind: _Mind, draw: random.Random) -> Generation:
    """With the log-probabilities of the tokens it was written in, as a server that gives those of calls has them."""

    def stated(beliefs: Beliefs, value: Any) -> float:
        if draw.random() < mind.settled:
            return -abs(draw.gauss(0, 0.03))
        p = next((p for each, p, _ in beliefs if each == value), 0.5)
        p = min(1 - 1e-4, max(1e-3, p))
        return -math.log1p(math.exp(-(mind.sure * math.log(p / (1 - p)) + draw.gauss(0.5, mind.loose))))

    tokens = [*_syntax('{"name": "', draw), TokenLogprob(name, stated(mind.tool, name))]
    tokens += _syntax('", "arguments": {', draw)
    for place, (argument, value) in enumerate(arguments.items()):
        tokens += _syntax(f'{", " if place else ""}"{argument}": ', draw)
        text = json.dumps(value)
        pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
        beliefs = mind.arguments.get(argument, [(value, 0.8, "")])
        tokens.append(TokenLogprob(pieces[0], stated(beliefs, value)))
        tokens += [TokenLogprob(piece, -abs(draw.gauss(0, 0.03))) for piece in pieces[1:]]
    tokens += _syntax("}}", draw)
    call = ToolCall("call_1", name, json.dumps(arguments))
    return Generation("", "tool_calls", tuple(tokens), (call,))


def _syntax(text: str, draw: random.Random) -> list[TokenLogprob]:
    return [
        TokenLogprob(piece, -abs(draw.gauss(0, 0.01))) for piece in (text[at : at + 5] for at in range(0, len(text), 5))
    ]
