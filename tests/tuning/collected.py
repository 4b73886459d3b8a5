"""A labelled collection over models that are made up: made in a second, of any size, with no network.

    collection = collection_in(tmp_path, 200)                   # collected and labelled
    file = policy_in(tmp_path)                                   # the policy it was collected with; a file, too
    plan = gateway_of(file).plan                                 # over upstreams that answer

The towns of made-up countries are asked for. How well an upstream knows a town is its chance to name the right country
when sampled, and its draft is right about as often as that; a passage that names the country helps. All of it follows
from the names alone, so a collection is the same in every run but for the time its calls took.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from gate.assemble import assemble
from gate.calibration.unfitted import Unfitted
from gate.drivers import Recording, World
from gate.drivers.world import completed, cost_of, tape_entry
from gate.effects import Done, Flow, Generate, Observe, Reply, Together, advance
from gate.full_evidence import draft_key, full_evidence
from gate.gateway import Gateway
from gate.pocket.world import unit_hash
from gate.policy import PolicyFile, read
from gate.ports import Price, Profile, is_local
from gate.tuning.collection import Collection, Label
from gate.tuning.examples import Example
from gate.types import Cost, Generation, Generations, Question, TokenLogprob, Usage

T = TypeVar("T")
POLICY = """\
name: made-up
promise: {max_error: 0.1}
costs: {wrong: 0.02, abstain: 0.002}
upstreams:
  small: {kind: openai_chat, model: small, base_url: "http://127.0.0.1:9/v1", price: {prompt: 0.1, completion: 0.4}}
  large: {kind: openai_chat, model: large, base_url: "http://127.0.0.1:9/v1", price: {prompt: 1, completion: 4}}
ladder: [small, large]
tiers: [[draft], [samples, meanings]]
evidence: {samples: {n: 4, seed: 1}}
signals: [token_logprob_sum, vote_share, semantic_concentration]
calibrator: made-up.calibrator.json
rule: {kind: threshold, answer_at: 0.8}
routes: {retrieve: {retriever: towns, k: 1}}
retrievers: {towns: {kind: bm25, path: towns.jsonl}}
"""
"""Its upstreams answer at no address: whatever asks them instead of a `Knowing` one fails."""
COUNTRIES = ("Askia", "Belgar", "Corvia", "Dremen", "Eslor", "Fenmark", "Gothal", "Hyria")
SKILL = {"small": 0.55, "large": 0.8}
"""How much of what is asked an upstream knows, on average."""
_TOWN = re.compile(r"Which country is (Town\d+) in\?")
_SHARE = 2.0**-32


def town(place: int) -> str:
    return f"Town{place}"


def country_of(name: str) -> str:
    return COUNTRIES[unit_hash(name, "country") % len(COUNTRIES)]


def examples(n: int, first: int = 0) -> list[Example]:
    """Questions with one reference each, in two segments, of no split."""
    return [
        Example(
            id=f"q{place}",
            question=Question.from_text(f"Which country is {town(place)} in?"),
            references=(country_of(town(place)),),
            segment="odd" if place % 2 else "even",
        )
        for place in range(first, first + n)
    ]


@dataclass
class Knowing:
    """A model in this process that knows some towns; fits `LocalUpstream`. ``calls`` holds what it was asked."""

    name: str
    skill: float
    price: Price = Price()
    profile: Profile = field(default_factory=Profile)
    fingerprint: str = "knowing"
    kind: ClassVar[str] = "knowing"
    calls: list[Generate] = field(default_factory=list)

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        self.calls.append(effect)
        text = effect.messages[-1].content
        asked = _TOWN.findall(text)[-1]
        told = f"{asked} belongs to {country_of(asked)}." in text
        knows = _knowledge(asked, self.name, self.skill)
        knows = 0.45 + 0.55 * knows if told else knows
        greedy = effect.temperature == 0.0
        chance = knows**2 / (knows**2 + (1 - knows) ** 2) if greedy else knows
        choices = tuple(self._said(asked, chance, f"{told}:{effect.seed}:{place}") for place in range(effect.n))
        return Generations(choices, Usage(-(-len(text) // 4), effect.n), self.name)

    def _said(self, asked: str, chance: float, draw: str) -> Generation:
        right = unit_hash(asked, f"{self.name}:{draw}") * _SHARE < chance
        truth = COUNTRIES.index(country_of(asked))
        away = 0 if right else 1 + unit_hash(asked, f"wrong:{self.name}:{draw}") % (len(COUNTRIES) - 1)
        said, logprob = COUNTRIES[(truth + away) % len(COUNTRIES)], math.log(chance if right else (1 - chance) / 2)
        return Generation(said, tokens=(TokenLogprob(said, logprob, ((said, logprob),)),))


def _knowledge(asked: str, upstream: str, skill: float) -> float:
    """In (0, 1), ``skill`` on average; most towns are known well or hardly at all."""
    drawn = (unit_hash(asked, f"knows:{upstream}") + 0.5) * _SHARE
    return float(min(0.995, max(0.005, drawn ** (1 / skill - 1))))


def policy_in(folder: Path, text: str = POLICY, towns: int = 1000) -> PolicyFile:
    """The policy, written to ``made-up.yaml`` with the passages on so many towns that its retriever reads."""
    # one town in ten stands in no passage
    found = [{"id": town(i), "text": f"{town(i)} belongs to {country_of(town(i))}."} for i in range(towns) if i % 10]
    (folder / "towns.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    path = folder / "made-up.yaml"
    path.write_text(text, encoding="utf-8")
    return read(path)


def gateway_of(file: PolicyFile) -> Gateway:
    """The policy with no calibrator yet, over `Knowing` upstreams in the place of those it names."""
    made = assemble(file, Unfitted())
    known = {
        name: Knowing(name, SKILL[name], upstream.price, upstream.profile)
        for name, upstream in made.world.upstreams.items()
    }
    return Gateway(made.policy, made.plan, replace(made.world, upstreams=known), made.running)


def collection_in(folder: Path, n: int, *, labels: bool = True, file: PolicyFile | None = None) -> Collection:
    """``collection.db`` in the folder, open: n questions with full evidence, labelled as the grader ``exact`` would."""
    gateway = gateway_of(file or policy_in(folder, towns=n))
    collection = Collection.create(folder / "collection.db")
    collection.add(examples(n))
    for place in collection.todo():
        recording = Recording()
        seen = run_here(full_evidence(gateway.plan, collection.example(place).asked), gateway.world, recording)
        cost = sum((entry.cost for entry in recording.tape), Cost())
        collection.finish(place, recording.tape, {draft_key(each.stage): each.draft for each in seen}, cost)
    if labels:
        label(collection)
    return collection


def run_here(flow: Flow[T], world: World, recording: Recording) -> T:
    """The flow on this very thread: ten times as fast as a driver, for models that answer at once and never fail."""
    reply: Any = None
    while not isinstance(effect := advance(flow, reply, None), Done):
        match effect:
            case Together(flows):
                reply = tuple(run_here(each, world, recording) for each in flows)
            case Observe(step):
                recording.steps.append(step)
                reply = None
            case _:
                began, endpoint = time.monotonic(), world.endpoint(effect)
                assert is_local(endpoint)
                value = completed(endpoint, effect, lambda: False)
                cost = cost_of(world, effect, 1, began, value)
                recording.tape.append(tape_entry(effect, cost, value))
                reply = Reply(value, cost)
    return effect.result


def label(collection: Collection, *, but: Iterable[tuple[str, str]] = ()) -> None:
    """Label every answer as it is, ``but`` these (id, answer) the other way round."""
    flipped, labels = set(but), dict[tuple[str, str], Label]()
    for row in collection.collected():
        for answer in row.answers.values():
            key = row.example.id, answer
            labels[key] = Label((answer in row.example.references) != (key in flipped), "exact")
    collection.label(labels)
