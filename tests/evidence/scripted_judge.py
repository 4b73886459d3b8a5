"""A judge that answers from a table, an embedder likewise, and running an evidence source over them and an upstream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from gate.drivers import Recording, ThreadedDriver, World
from gate.effects import Embed, Entail
from gate.embedders import HashedNgrams
from gate.evidence import Draft, Samples
from gate.ports import Evidence, EvidenceSource, Fact, Price, Profile, Round
from gate.types import Cost, Entailment, Entailments, Generation, Question, Usage, Vector, Vectors
from tests.scripted import Scripted, always

ASKED = Question.from_text("Where is Lagos?")
ROUND = Round(0, ASKED, "small", Profile(), ASKED.messages)
YES, MAYBE, NO = Entailment(0.9, 0.08, 0.02), Entailment(0.1, 0.8, 0.1), Entailment(0.05, 0.05, 0.9)


@dataclass
class ScriptedJudge:
    """Says what ``verdict`` says of (premise, hypothesis) without the question before them; keeps what it was asked."""

    verdict: Callable[[str, str], Entailment]
    asked: list[Entail] = field(default_factory=list)
    name: str = "nli"
    price: Price = field(default_factory=lambda: Price(prompt=1.0))
    fingerprint: str = "scripted"
    kind: ClassVar[str] = "scripted"
    lost: int = 0
    """How many verdicts it leaves out."""

    def complete(self, effect: Entail, cancelled: Callable[[], bool]) -> Entailments:
        self.asked.append(effect)
        bare = [(one.removeprefix(ASKED.text + " "), two.removeprefix(ASKED.text + " ")) for one, two in effect.pairs]
        verdicts = tuple(self.verdict(*pair) for pair in bare)
        return Entailments(verdicts[: len(verdicts) - self.lost], Usage(len(bare), 0))


@dataclass
class ScriptedEmbedder:
    """Looks texts up; keeps what it was asked."""

    rows: Callable[[str], Vector]
    asked: list[Embed] = field(default_factory=list)
    name: str = "table"
    price: Price = field(default_factory=lambda: Price(prompt=1.0))
    fingerprint: str = "scripted"

    def complete(self, effect: Embed, cancelled: Callable[[], bool]) -> Vectors:
        self.asked.append(effect)
        return Vectors(tuple(self.rows(text) for text in effect.texts), Usage(len(effect.texts), 0))


def given(draft: Generation | str, samples: list[Generation | str]) -> Evidence:
    first, *rest = (Generation(said) if isinstance(said, str) else said for said in (draft, *samples))
    return Evidence().having(Draft(Cost(), first, "small")).having(Samples(Cost(), tuple(rest)))


def gathered(
    source: EvidenceSource,
    evidence: Evidence,
    *,
    judge: ScriptedJudge | None = None,
    embedder: ScriptedEmbedder | None = None,
    upstream: Scripted | None = None,
    round_: Round = ROUND,
) -> Fact:
    world = World(
        {"small": upstream or Scripted("small", always("Nigeria"))},
        embedders={"hashed": HashedNgrams("hashed"), **({"table": embedder} if embedder else {})},
        judges={"nli": judge} if judge else {},
    )
    driver = ThreadedDriver(world)
    try:
        return driver.run(source.gather(round_, evidence), Recording())
    finally:
        driver.close()
