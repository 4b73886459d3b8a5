"""A decision log in memory with some days of made-up traffic, and a server that serves three policies."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from gate.dashboard.serving import LivePolicy, LogHealth, Viewer
from gate.guarantees.monitor import DriftMonitor
from gate.log.entries import Mode
from gate.log.explain import explanation
from gate.log.kept import Audited, Kept, Label, Sought, Total
from gate.traces import TapeEntry, TraceRecord
from gate.types import (
    Action,
    Certificate,
    Confidence,
    Contribution,
    Cost,
    Decision,
    Generation,
    Generations,
    Message,
    Outcome,
    Passage,
    Prospect,
    Question,
    Reading,
    SignalVector,
    Stage,
    Step,
)

NOW = 1_785_420_180.0
"""30 July 2026, 14:03 UTC."""
ASKED = (
    ("Which country is Nanjing in?", "Nanjing is in China.", "China"),
    ("What is the capital of Burkina Faso?", "The capital of Burkina Faso is Ouagadougou.", "Ouagadougou"),
    ("Which currency is used in Georgia?", "Georgia uses the lari.", "the lari"),
    ("Is Springfield larger than Lagos?", "Lagos is far larger.", "Lagos; which Springfield does not matter"),
    ("Which languages are official in Eswatini?", "Swazi and English.", "Swazi and English"),
    ("How many neighbours does Zambia have?", "Zambia has seven neighbours.", "eight"),
    ("What is the capital of Tuvalu?", "The capital of Tuvalu is Nukualofa.", "Funafuti"),
    (
        "Can I cancel an order that has already been shipped to another country, and who pays for the way back?",
        "Yes, within 14 days of delivery; you pay for the way back unless the goods are faulty.",
        "Yes",
    ),
    ("Where is Atlantis?", "Atlantis is in Greece.", "it is not a real place"),
)
SIGNALS = (
    "token_logprob_sum", "token_logprob_min", "token_margin_min", "vote_share", "semantic_concentration",
    "passage_score", "question_in_passages", "answer_in_passages",
)  # fmt: skip
CERTIFICATE = Certificate(
    0.05, 0.05, 1141, 1080, 21, 0.027881, "questions about the pocket world, certify split", "2026-07-12", {}
)
POLICIES = (
    LivePolicy(
        "balanced", "398f6232e1305603", 0.05, 0.95, "enforce", CERTIFICATE,
        summary="at most one answer in twenty wrong, at moderate cost", ladder=("small", "large"),
    ),
    LivePolicy(
        "support", "77aa01c2d3e4f506", 0.1, 0.9, "observe", None,
        summary="answers to customers, still being watched", ladder=("mini", "large"),
    ),
    LivePolicy(
        "strict", "c0ffee00c0ffee00", 0.01, 0.95, "enforce",
        dataclasses.replace(CERTIFICATE, alpha=0.01, bound=0.0083, errors=3, answered=812),
        void=("upstream large is not the model that was certified: large-2026-07-20",),
        summary="at most one answer in a hundred wrong", ladder=("small", "large"),
    ),
)  # fmt: skip
KEYS = ("chat-app", "support-bot", "notebook", "batch-eval")
ADMIN = Viewer("ops", frozenset({"admin"}))
REVIEWER = Viewer("notebook", frozenset({"review"}))
SUPPORT_REVIEWER = Viewer("support-bot", frozenset({"review"}), frozenset({"support"}))
STRANGER = Viewer("chat-app", frozenset({"use"}))


@dataclass
class FakeServing:
    live: tuple[LivePolicy, ...] = POLICIES
    health: LogHealth | None = field(default_factory=lambda: LogHealth("text", waiting=3))
    viewers: dict[str, Viewer] = field(
        default_factory=lambda: {v.name: v for v in (ADMIN, REVIEWER, SUPPORT_REVIEWER, STRANGER)}
    )

    def policies(self) -> Sequence[LivePolicy]:
        return self.live

    def log_health(self) -> LogHealth | None:
        return self.health

    def viewer(self, name: str) -> Viewer | None:
        return self.viewers.get(name)


@dataclass
class FakeReader:
    """Rows by id, the oldest first."""

    rows: dict[str, Kept] = field(default_factory=dict)
    traces: dict[str, TraceRecord] = field(default_factory=dict)
    monitors: dict[tuple[str, str], DriftMonitor] = field(default_factory=dict)

    def add(self, kept: Kept) -> Kept:
        self.rows[kept.id] = kept
        return kept

    def recent(self, sought: Sought, limit: int = 50) -> Sequence[Kept]:
        ordered = sorted(self._sought(sought), key=lambda k: (k.at, k.id), reverse=True)
        return [dataclasses.replace(k, explanation={}) for k in ordered[:limit]]

    def find(self, decision: str) -> Kept | None:
        return self.rows.get(decision)

    def trace(self, decision: str) -> TraceRecord | None:
        return self.traces.get(decision)

    def waiting(self, limit: int = 50, after: str = "") -> Sequence[Kept]:
        rows = sorted(
            (k for k in self.rows.values() if k.audit and not (k.label and k.label.source == "review")),
            key=lambda k: (k.at, k.id),
        )
        place = self.rows.get(after)
        return [k for k in rows if place is None or (k.at, k.id) > (place.at, place.id)][:limit]

    def waiting_count(self) -> int:
        return len(self.waiting(10**6))

    def totals(self, sought: Sought) -> Sequence[Total]:
        groups: dict[tuple[str, Mode, str], list[Kept]] = defaultdict(list)
        for kept in self._sought(sought):
            groups[kept.policy, kept.mode, kept.action].append(kept)
        return [
            Total(
                *key,
                len(rows),
                sum(k.retracted for k in rows),
                sum(k.calls for k in rows),
                sum(k.prompt_tokens for k in rows),
                sum(k.completion_tokens for k in rows),
                sum(k.money for k in rows),
                sum(k.seconds for k in rows) / len(rows),
            )
            for key, rows in groups.items()
        ]

    def spent(self, since: float) -> Sequence[tuple[str, float, int]]:
        held: dict[str, tuple[float, int]] = {}
        for kept in self._sought(Sought(since=since)):
            money, tokens = held.get(kept.key, (0.0, 0))
            held[kept.key] = (money + kept.money, tokens + kept.prompt_tokens + kept.completion_tokens)
        return [(key, money, tokens) for key, (money, tokens) in held.items()]

    def audited(self, policy: str, policy_fingerprint: str = "") -> Sequence[Audited]:
        return [
            Audited(k.id, k.p, k.label.correct, k.action, k.mode, k.audit, reviewed=k.label.source == "review")
            for k in self.rows.values()
            if k.policy == policy and k.label is not None and k.label.correct is not None
            if policy_fingerprint in ("", k.policy_fingerprint)
        ]

    def label(self, label: Label) -> bool:
        kept = self.rows.get(label.decision)
        if kept is not None:
            self.rows[label.decision] = dataclasses.replace(kept, label=label)
        return kept is not None

    def monitor(self, policy: str, policy_fingerprint: str) -> DriftMonitor | None:
        return self.monitors.get((policy, policy_fingerprint))

    def update_monitor(
        self, policy: str, policy_fingerprint: str, wrong: bool, weight: float, fresh: DriftMonitor
    ) -> DriftMonitor:
        at = (policy, policy_fingerprint)
        self.monitors[at] = self.monitors.get(at, fresh).updated(wrong, weight)
        return self.monitors[at]

    def _sought(self, sought: Sought) -> list[Kept]:
        return [k for k in self.rows.values() if _matches(k, sought)]


def _matches(kept: Kept, sought: Sought) -> bool:
    if sought.before is not None and (kept.at, kept.id) >= (sought.before, sought.before_id or ""):
        return False
    if sought.since is not None and kept.at < sought.since:
        return False
    of_keys = sought.keys is None or kept.key in sought.keys
    return of_keys and sought.policy in ("", kept.policy) and sought.action in ("", kept.action)


def a_decision(name: str = "d0", **changes: object) -> Kept:
    """One plain answer of the balanced policy."""
    plain = Kept(
        id=name, at=NOW - 60, door="chat", key="chat-app", request_id=f"req-{name}", policy="balanced",
        policy_fingerprint=POLICIES[0].fingerprint, certified=True, mode="enforce", action="answer",
        reason="confident", stage="small/with_passages/tier0", p=0.97, threshold=0.9427, calls=2, prompt_tokens=420,
        completion_tokens=64, money=0.0021, seconds=0.84, status=200, error="", streamed=False, retracted=False,
        audit=None, full_evidence=False, question_hash="", question=ASKED[0][0], answer=ASKED[0][1],
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def busy(count: int = 900, seed: int = 5) -> FakeReader:
    """Ten days of traffic: the newest of it dense, some of it labelled, some waiting."""
    draw, reader = random.Random(seed), FakeReader()
    for number in range(count):
        age = 24 * number if number < 130 else 3100 + (number - 130) * 1050
        _one(reader, draw, number, NOW - 4 - age * draw.uniform(0.97, 1.0))
    reader.rows = dict(sorted(reader.rows.items(), key=lambda pair: (pair[1].at, pair[0])))
    for live, wrongs in zip(POLICIES, (7, 9, 11), strict=True):
        monitor = DriftMonitor(alpha=live.max_error, delta=1 - live.confidence)
        for number in range(180 if live.name != "strict" else 90):
            monitor = monitor.updated(number % (180 // wrongs) == 5)
        reader.monitors[live.name, live.fingerprint] = monitor
    return reader


def _one(reader: FakeReader, draw: random.Random, number: int, at: float) -> None:
    live = POLICIES[draw.choices((0, 1, 2), (6, 4, 2))[0]]
    question, answer, truth = ASKED[draw.randrange(len(ASKED))]
    record = made_record(draw, f"{draw.getrandbits(128):032x}", live, question, answer, at)
    if draw.random() < 0.02:
        record = dataclasses.replace(
            record, steps=(), outcome=None, action=None, error="upstream 'large': no answer within 20 s"
        )
    decision = record.steps[-1].decision if record.steps else None
    p = decision.confidence.p if decision and decision.confidence else None
    drawable = decision is not None and (decision.action is Action.ANSWER or live.mode == "observe")
    audit = 0.2 if drawable and draw.random() < 0.45 else None
    right = p is not None and draw.random() < p**0.8
    label = None
    if audit and age_of(at) > 3600 * 30:
        correct = None if draw.random() < 0.04 else right
        label = Label(record.id, correct, "notebook", "review", at + 7200, "", "" if right else truth)
    elif draw.random() < 0.02 and record.steps:
        label = Label(record.id, False, "chat-app", "feedback", at + 40, "the customer wrote back", truth)
    reader.traces[record.id] = record
    reader.add(
        Kept(
            id=record.id, at=at, door=draw.choice(("chat", "chat", "chat", "responses", "messages")),
            key=draw.choices(KEYS, (6, 4, 1, 2))[0], request_id=f"req_{number:05d}", policy=live.name,
            policy_fingerprint=live.fingerprint, certified=record.certified, mode=live.mode,
            action=record.action.value if record.action else "", reason=decision.reason if decision else "",
            stage=decision.stage.key if decision else "", p=p, threshold=decision.threshold if decision else None,
            calls=record.cost.calls, prompt_tokens=record.cost.prompt_tokens,
            completion_tokens=record.cost.completion_tokens, money=record.cost.money,
            seconds=record.cost.seconds * 1.04 + 0.003, status=200 if record.steps else 504, error=record.error or "",
            streamed=draw.random() < 0.5, retracted=live.mode == "observe" and draw.random() < 0.02, audit=audit,
            full_evidence=draw.random() < 0.05, question_hash="", question=question, answer=answer,
            explanation=explanation(record), label=label,
        )
    )  # fmt: skip


def age_of(at: float) -> float:
    return NOW - at


def made_record(draw: random.Random, name: str, live: LivePolicy, question: str, answer: str, at: float) -> TraceRecord:
    """What a cascade with retrieval leaves behind."""
    first, large = live.ladder
    easy = draw.random() ** 0.6
    steps, tape = [], []
    for number, stage in enumerate((Stage(first), Stage(first, passages=True), Stage(large, passages=True, tier=1))):
        base = (0.47, 1.6, 1.9)[number]
        added = tuple(_contribution(draw, name, stage, easy) for name in SIGNALS)
        total = base + sum(c.log_odds for c in added)
        p = 1 / (1 + 2.718281828**-total)
        confidence = Confidence(
            p, p * 0.93, p + (1 - p) * 0.5, added, base, prospects=_prospects(draw, p, number, large)
        )
        threshold = (0.985, 0.9427, 0.9002)[number]
        action, reason = _next(p, threshold, number, draw)
        cost = Cost(1 + 4 * stage.tier, 180 * (number + 1), 30 + 20 * number, 0.3 + 0.5 * number, 0.0004 * 4**number)
        readings = tuple(_reading(draw, name, stage, easy) for name in SIGNALS)
        steps.append(Step(Decision(action, reason, stage, confidence, threshold), SignalVector(readings), cost))
        tape.extend(_tape(draw, stage, answer, cost, at))
        if action in (Action.ANSWER, Action.ABSTAIN, Action.CLARIFY):
            break
    cost = sum((s.cost for s in steps), Cost())
    end = steps[-1].decision.action
    text = answer if end is Action.ANSWER else "I am not sure enough of an answer to give you one."
    passages = (Passage("p1", f"{answer} It is so in every atlas.", 7.2, "Atlas, chapter 3", "atlas.md", 120),)
    outcome = Outcome(end, text, tuple(steps), cost, passages=passages if len(steps) > 1 else ())
    messages = (Message("system", "You answer in one sentence."), Message("user", question))
    certified = live.certificate is not None and not live.void
    return TraceRecord(
        name, "", live.name, live.fingerprint, certified, tuple(steps), Question(messages), tuple(tape), outcome,
        action=end, cost=cost,
    )  # fmt: skip


def _next(p: float, threshold: float, number: int, draw: random.Random) -> tuple[Action, str]:
    if p >= threshold:
        return Action.ANSWER, "confident"
    if number == 2:
        return (Action.CLARIFY, "ambiguous") if draw.random() < 0.2 else (Action.ABSTAIN, "uncertain")
    return (Action.RETRIEVE, Action.ESCALATE)[number], "uncertain"


def _absent(name: str, stage: Stage) -> str:
    if "passage" in name and not stage.passages:
        return "no passage is in the prompt"
    return "no samples were drawn" if name in ("vote_share", "semantic_concentration") and not stage.tier else ""


def _contribution(draw: random.Random, name: str, stage: Stage, easy: float) -> Contribution:
    return Contribution(name, -0.0067 if _absent(name, stage) else draw.gauss(2.1 * easy - 0.9, 0.5))


def _reading(draw: random.Random, name: str, stage: Stage, easy: float) -> Reading:
    absent = _absent(name, stage)
    if absent:
        return Reading(name, None, absent)
    return Reading(name, -draw.expovariate(1 + 3 * easy) if "logprob" in name else draw.betavariate(1 + 5 * easy, 1.5))


def _prospects(draw: random.Random, p: float, number: int, large: str) -> tuple[Prospect, ...]:
    ways = [Prospect(Action.ANSWER, p, 1 - p), Prospect(Action.ABSTAIN, 0.0, 0.1)]
    if number < 2:
        ways.append(Prospect(Action.RETRIEVE, min(0.99, p + 0.2), 0.06 + draw.random() / 50))
        ways.append(Prospect(Action.ESCALATE, min(0.99, p + 0.25), 0.07 + draw.random() / 50, large))
    return tuple(ways)


def _tape(draw: random.Random, stage: Stage, answer: str, cost: Cost, at: float) -> list[TapeEntry]:
    found = Passage("p1", f"{answer} It is so in every atlas.", 7.2, "Atlas, chapter 3", "atlas.md", 120)
    made = [TapeEntry("k", "retrieve", Cost(seconds=0.012), passages=(found,), to="atlas")] if stage.passages else []
    each = Cost(1, cost.prompt_tokens // cost.calls, cost.completion_tokens // cost.calls, 0.3, cost.money / cost.calls)
    for _ in range(cost.calls):
        said = answer if draw.random() < 0.8 else "I am not certain."
        made.append(TapeEntry("k", "generate", each, Generations((Generation(said),)), to=stage.upstream, began=at))
    return made
