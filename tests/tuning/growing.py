"""A small world of drafts of several sentences: how likely each is right, its tokens tell from the beginning on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from gate.calibration.logistic import LogisticCalibrator, SignalWeight, StageWeights
from gate.calibration.prefix import AskedAt
from gate.drivers import Recording
from gate.effects import Generate
from gate.full_evidence import draft_key, full_evidence
from gate.gateway import Gateway
from gate.policy import PolicyFile, read
from gate.ports import Price, Profile
from gate.tuning.collection import Collection, Label
from gate.tuning.examples import Example
from gate.tuning.prefix_drafts import PrefixDraft
from gate.types import Cost, Generation, Generations, Question, Stage, TokenLogprob, Usage

SENTENCES = AskedAt(positions="sentence")
ROUND = "one/closed_book"
POLICY = """\
name: growing
promise: {max_error: 0.3}
upstreams:
  one: {kind: openai_chat, model: one, base_url: "http://127.0.0.1:9/v1"}
ladder: [one]
tiers: [[draft]]
signals: [token_logprob_mean]
calibrator: growing.calibrator.json
rule: {kind: threshold, answer_at: 0.5}
"""
"""Its upstream answers at no address."""


def knowledge(place: int) -> float:
    """Of a question: how likely each sentence of its draft is right. Half are known well, half are not."""
    drawn = float(np.random.default_rng([place, 1]).random())
    return 0.98 + 0.02 * drawn if place % 2 else 0.3 + 0.6 * drawn


def draft(place: int) -> tuple[Generation, bool]:
    """Two to six sentences of six tokens, two of which say how sure the model was; and whether all are right."""
    rng, knows = np.random.default_rng([place, 2]), knowledge(place)
    tokens: list[TokenLogprob] = []
    right = True
    for number in range(2 + int(rng.integers(5))):
        right = right and bool(rng.random() < knows)
        words = (" Then" if number else "Then", f" thing{number}", " is", " so", f" {place}", ".")
        for at, word in enumerate(words):
            noisy = knows ** float(rng.uniform(0.5, 2.0)) if at in (1, 4) else 0.999
            rival = (1 - noisy) * float(rng.uniform(0.3, 1.0))
            tokens.append(TokenLogprob(word, math.log(noisy), ((word, math.log(noisy)), ("x", math.log(rival)))))
    return Generation("".join(token.token for token in tokens), tokens=tuple(tokens)), right


def drafts(places: range, asked_at: AskedAt = SENTENCES) -> list[PrefixDraft]:
    made = []
    for place in places:
        said, right = draft(place)
        made.append(PrefixDraft.of(said, asked_at, question=place, round_key=ROUND, right=right, streamed=True))
    return made


# --- as a collection ---------------------------------------------------------------------------------------------


@dataclass
class Writing:
    """A model in this process that writes these drafts; fits `LocalUpstream`."""

    logprobs: bool = True
    name: str = "one"
    price: Price = Price()
    profile: Profile = field(default_factory=Profile)
    fingerprint: str = "writing"
    kind: ClassVar[str] = "writing"

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        said, _ = draft(int(effect.messages[-1].content.split()[-1]))
        said = said if self.logprobs else Generation(said.text)
        return Generations((said,), Usage(3, len(said.text) // 4), self.name)


def policy_in(folder: Path, text: str = POLICY) -> PolicyFile:
    """The policy and its calibrator, which lets through what has a mean log-probability above -0.2."""
    weight = SignalWeight(mean=-0.2, scale=0.05, weight=1.0, low=-5.0, high=0.0)
    stage = StageWeights(intercept=0.0, signals={"token_logprob_mean": weight}, n=1)
    fitted = LogisticCalibrator(signals=("token_logprob_mean",), stages={Stage("one").key: stage})
    (folder / "growing.calibrator.json").write_text(fitted.dump(), encoding="utf-8")
    path = folder / "growing.yaml"
    path.write_text(text, encoding="utf-8")
    return read(path)


def collection_in(path: Path, gateway: Gateway, n: int, *, logprobs: bool = True) -> Collection:
    """n questions with their drafts, graded; open."""
    from tests.tuning.collected import run_here

    upstream = Writing(logprobs)
    world = type(gateway.world)({"one": upstream})
    collection = Collection.create(path)
    collection.add(Example(f"q{place}", Question.from_text(f"Write of {place}"), ("x",)) for place in range(n))
    for place in collection.todo():
        recording = Recording()
        example = collection.example(place)
        seen = run_here(full_evidence(gateway.plan, example.asked), world, recording)
        cost = sum((entry.cost for entry in recording.tape), Cost())
        collection.finish(place, recording.tape, {draft_key(each.stage): each.draft for each in seen}, cost)
        said, right = draft(int(example.id[1:]))
        collection.label({(example.id, said.text): Label(right, "exact")})
    return collection
