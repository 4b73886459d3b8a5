"""Small worlds in which everything is told: what each upstream says of each question, how sure of it, and what fails.

A draft's text tells the confidence it is to be given in every tier: a pipeline run on the replies and a table of the
readings speak of the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gate.calibration.logistic import Ways, way_of
from gate.drivers import Recording, ThreadedDriver, World
from gate.effects import Flow, Generate, Retrieve, generate
from gate.errors import UpstreamError
from gate.evidence import DraftSource
from gate.evidence.asking import request
from gate.evidence.draft import Draft, draft_of
from gate.full_evidence import Seen, full_evidence
from gate.pipeline import Plan
from gate.ports import Evidence, EvidenceSource, Fact, Missing, Price, Profile, Round, Route, Uses
from gate.prompts import load
from gate.routes import AbstainRoute, AnswerRoute, EscalateRoute, RetrieveRoute
from gate.rules import Thresholds
from gate.traces import TapeEntry
from gate.tuning.table import Array, Bools, Row, Table, TableMaker
from gate.types import (
    Action,
    Budget,
    Confidence,
    Generation,
    Generations,
    Passage,
    Prospect,
    Question,
    SignalVector,
    Stage,
    Usage,
)

LADDER = ("small", "middle", "large")
PRICES = {"small": 1.0, "middle": 7.0, "large": 31.0}
STRANGE = 10.0
"""Added to a confidence that is out of the calibrator's range."""
_PASSAGE = "fact: "


@dataclass(frozen=True)
class Said:
    """What an upstream says of a question, with or without passages."""

    p: tuple[float, ...]
    """Its confidence in every tier."""
    strange: tuple[bool, ...]
    right: bool = True
    declined: bool = False
    cut_short: bool = False
    fails: bool = False

    @property
    def text(self) -> str:
        return json.dumps([p + STRANGE * odd for p, odd in zip(self.p, self.strange, strict=True)])


Told = Mapping[tuple[str, str, bool], Said]
"""By question, upstream and whether it reads passages."""


@dataclass
class Telling:
    """An upstream that says what it is told to; fits `LocalUpstream`."""

    name: str
    told: Told
    profile: Profile = Profile()
    fingerprint: str = "telling"
    kind: ClassVar[str] = "telling"

    @property
    def price(self) -> Price:
        return Price(PRICES[self.name], 2 * PRICES[self.name])

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        asked = effect.messages[-1].content
        said = self.told[asked.split()[-1], self.name, _PASSAGE in asked]
        if said.fails:
            raise UpstreamError(self.name, "is down")
        finish = "length" if said.cut_short else "stop"
        made = Generation(said.text, finish, refusal="no" if said.declined else None)
        return Generations((made,) * effect.n, Usage(len(asked), 5 * effect.n), self.name)


@dataclass(frozen=True)
class Shelf:
    """A retriever that finds one passage, but for some questions none."""

    fruitless: frozenset[str]
    name: str = "shelf"
    fingerprint: str = "shelf"
    embedder: str = ""
    kind: ClassVar[str] = "shelf"

    def complete(self, effect: Retrieve, cancelled: Callable[[], bool]) -> tuple[Passage, ...]:
        return () if effect.query in self.fruitless else (Passage("1", _PASSAGE + effect.query),)


@dataclass(frozen=True)
class Second(Fact):
    """What the second tier adds: a bill."""


@dataclass(frozen=True)
class Third(Fact):
    """What the third adds."""


@dataclass(frozen=True)
class More:
    """Evidence of a later tier: as many answers as its number, which nobody reads."""

    tier: int
    needs: tuple[type[Fact], ...] = (Draft,)
    uses: Uses = Uses()

    @property
    def name(self) -> str:
        return f"more{self.tier}"

    @property
    def provides(self) -> type[Fact]:
        return (Second, Third)[self.tier - 1]

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        reply = yield from generate(request(round_, n=self.tier, temperature=1.0, seed=self.tier, alternatives=0))
        return self.provides(reply.cost)


@dataclass(frozen=True)
class Heard:
    """The confidence a draft is to be given in a tier."""

    tier: int
    needs: tuple[type[Fact], ...] = (Draft,)
    bounds: tuple[float, float] = (0.0, 2 * STRANGE)

    @property
    def name(self) -> str:
        return f"tier{self.tier}"

    def measure(self, evidence: Evidence) -> float | Missing:
        return float(json.loads(draft_of(evidence).generation.text)[self.tier])


@dataclass(frozen=True)
class Believing:
    """A calibrator that takes a draft's own word for it."""

    ways: Ways | None = None
    fingerprint: str = "believing"

    def check(self, signals: tuple[str, ...], stages: tuple[Stage, ...]) -> None:
        """Nothing to object to."""

    def confidence(self, vector: SignalVector, stage: Stage) -> Confidence:
        heard = vector.value(f"tier{stage.tier}")
        assert heard is not None
        p = heard % STRANGE
        ahead = self.ways.stages.get(stage.key, {}) if self.ways else {}
        split = ((way_of(name), way) for name, way in ahead.items())
        prospects = tuple(Prospect(action, p, way.expected_cost(p), to) for (action, to), way in split)
        return Confidence(p, p, p, out_of_distribution=heard >= STRANGE, prospects=prospects)


@dataclass(frozen=True)
class SmallWorld:
    """A ladder, its tiers, and what is said of every question."""

    ladder: tuple[str, ...]
    passages: bool
    tiers: int
    questions: tuple[str, ...]
    told: Told
    fruitless: frozenset[str] = frozenset()
    ways: Ways | None = None

    def plan(self, rule: Thresholds) -> Plan:
        profiles = dict.fromkeys(self.ladder, Profile())
        sources: list[EvidenceSource] = [DraftSource(), *(More(tier) for tier in range(1, self.tiers))]
        routes: list[Route] = [AnswerRoute(), AbstainRoute("no")]
        if self.passages:
            routes.append(RetrieveRoute("shelf", load("with_passages"), 1))
        if len(self.ladder) > 1:
            routes.append(EscalateRoute(self.ladder, profiles))
        return Plan(
            ladder=self.ladder,
            profiles=profiles,
            tiers=tuple((source,) for source in sources),
            signals=tuple(Heard(tier) for tier in range(self.tiers)),
            calibrator=Believing(self.ways),
            rule=rule,
            routes={route.action: route for route in routes},
            budget=Budget(),
            prices={name: Telling(name, self.told).price for name in self.ladder},
        )

    def collect(self, plan: Plan) -> tuple[Table, dict[str, tuple[TapeEntry, ...]]]:
        """The table of full evidence, and the tapes it was made of. Questions without a first draft are left out."""
        retrievers = {"shelf": Shelf(self.fruitless)}
        driver = ThreadedDriver(World({name: Telling(name, self.told) for name in self.ladder}, retrievers))
        maker = TableMaker(tuple(signal.name for signal in plan.signals), stages_in_order(self))
        tapes: dict[str, tuple[TapeEntry, ...]] = {}
        for question in self.questions:
            recording = Recording()
            try:
                seen = driver.run(full_evidence(plan, Question.from_text(question)), recording)
            except UpstreamError:
                continue
            tapes[question] = tuple(recording.tape)
            maker.add(Row(question, "", seen, [self._right(question, each) for each in seen]))
        driver.close()
        return maker.made(), tapes

    def _right(self, question: str, seen: Seen) -> bool:
        return self.told[question, seen.stage.upstream, seen.stage.passages].right


def stages_in_order(world: SmallWorld) -> tuple[Stage, ...]:
    books = (False, True) if world.passages else (False,)
    return tuple(Stage(name, b, tier) for name in world.ladder for b in books for tier in range(world.tiers))


def believed(table: Table) -> dict[str, tuple[Array, Bools]]:
    """What `Believing` says of every stage."""
    heard = {key: np.nan_to_num(column.values[:, column.stage.tier]) for key, column in table.stages.items()}
    return {key: (np.asarray(h % STRANGE, dtype=np.float64), h >= STRANGE) for key, h in heard.items()}


ANY_WAY: tuple[tuple[Action, ...], ...] = (
    (),
    (Action.RETRIEVE,),
    (Action.ESCALATE,),
    (Action.RETRIEVE, Action.ESCALATE),
    (Action.ESCALATE, Action.RETRIEVE),
)
