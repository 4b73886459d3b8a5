"""The nouns of gate, frozen: what flows from a question to an outcome. Each knows nothing of the next.

``Question`` → evidence → ``SignalVector`` → ``Confidence`` → ``Decision`` → ``Outcome``; kept in `gate.traces`.
Sequences are tuples, times are seconds, money is US dollars, log-probabilities are natural logs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

JsonObject = Mapping[str, Any]
"""A JSON object as it stands on the wire; used only where a field is passed through untouched."""


# --- what is asked -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. ``content`` is its text; ``wire`` is the original JSON when that held more."""

    role: str
    content: str
    wire: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one question may cost. ``None`` means no limit of that kind."""

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None
    fan_out: int | None = None
    """Requests made side by side, and answers asked of one request."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the caller wants answered."""

    messages: tuple[Message, ...]
    options: JsonObject = field(default_factory=dict)
    """The caller's own generation fields (``temperature``, ``max_tokens``, ``tools`` …), as on the OpenAI wire."""
    passages: tuple[Passage, ...] = ()
    """What the caller says it can be answered from: the retrieve route quotes these, and searches only without any."""

    @property
    def text(self) -> str:
        """The last user message: the question proper."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @classmethod
    def from_text(cls, text: str) -> Question:
        return cls((Message("user", text),))


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text found by a retriever. ``score`` is the retriever's own, higher = better match."""

    id: str
    text: str
    score: float = 0.0
    title: str = ""
    """Of the document, and of the section it stands in."""
    source: str = ""
    """Where the document is: a path in the indexed folder, or an address."""
    start: int | None = None
    """Where it begins in the text of the document, in characters; None where that is not known."""


# --- what a model says -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token and the most likely alternatives at its place (the token itself among them when it is)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it."""


@dataclass(frozen=True, slots=True)
class InternalStates:
    """What was read inside a model for one answer, packed: `gate.hidden_states.block` reads it. No text is in it, but
    some can be told from it: it is as private as the answer (Morris et al. 2023, vec2text)."""

    version: int
    model: str
    """The identity of the weights."""
    depth: int
    """Blocks the model has."""
    width: int
    """Numbers of its residual stream."""
    layers: tuple[int, ...]
    """Read after these blocks, counted from 1."""
    answer_tokens: int
    """Tokens of the answer they were read over."""
    features: str
    """Base64 of half-precision numbers, little-endian."""
    digest: str
    """Of everything else."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer of a model. ``tokens`` is None when the upstream gave no log-probabilities."""

    text: str
    finish_reason: str = "stop"
    tokens: tuple[TokenLogprob, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    """Set when the model itself declined."""
    states: InternalStates | None = None
    """What was read inside the model; None unless it was asked for and could be had."""
    no_states: str = ""
    """Why there are none although they were asked for."""
    cites: bool = False
    """Whether it was asked to cite passages by number: a ``[1]`` in it is then no part of what it says."""


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Generations:
    """An upstream's reply to one request: at least one choice."""

    choices: tuple[Generation, ...]
    usage: Usage = Usage()
    model: str = ""
    """The model's name as the upstream reports it."""


Vector = tuple[float, ...]
"""An embedding, of unit length."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """An embedder's reply: one vector for each text, in order."""

    rows: tuple[Vector, ...]
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Entailment:
    """How likely a premise entails, leaves open or contradicts a hypothesis. The three sum to 1."""

    entailment: float
    neutral: float
    contradiction: float


@dataclass(frozen=True, slots=True)
class Entailments:
    """An entailment judge's reply: one verdict for each pair, in order."""

    verdicts: tuple[Entailment, ...]
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Cost:
    """What something cost. ``a + b`` is one after the other, ``Cost.together`` is side by side.

    ``calls`` counts requests for text. Embeddings and entailment cost time, tokens and money, but no call.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    money: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Cost) -> Cost:
        calls, prompt = self.calls + other.calls, self.prompt_tokens + other.prompt_tokens
        completion = self.completion_tokens + other.completion_tokens
        return Cost(calls, prompt, completion, self.seconds + other.seconds, self.money + other.money)

    @staticmethod
    def together(costs: Iterable[Cost]) -> Cost:
        """Everything adds up except the time, which is that of the slowest."""
        listed = list(costs)
        total = sum(listed, Cost())
        return dataclasses.replace(total, seconds=max((c.seconds for c in listed), default=0.0))


# --- what gate makes of it ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """How far one question has come: who drafts, whether passages are in the prompt, how many tiers were gathered. A
    calibrator holds one set of weights per stage, because a policy that stops early sees a selected population."""

    upstream: str
    passages: bool = False
    tier: int = 0
    memory: bool = False
    """Whether it is the answer from memory that is on trial, beside one that read the passages (arbitration)."""

    @property
    def round_key(self) -> str:
        """Whose draft it is: the same for all tiers."""
        return f"{self.upstream}/{'with_passages' if self.passages else 'closed_book'}"

    @property
    def key(self) -> str:
        return f"{self.round_key}/tier{self.tier}{'/memory' if self.memory else ''}"


@dataclass(frozen=True, slots=True)
class Reading:
    """A signal's value (higher = more likely correct), or the reason why it is missing. Never both, never neither."""

    signal: str
    value: float | None
    missing: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.missing is None):
            raise ValueError(f"reading of {self.signal!r} needs a value or a reason, not both or neither")


@dataclass(frozen=True, slots=True)
class SignalVector:
    """All readings of one round, in the order the policy lists its signals."""

    readings: tuple[Reading, ...]

    def value(self, signal: str) -> float | None:
        return next((r.value for r in self.readings if r.signal == signal), None)


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one signal added to the log-odds of being right, against the average question of the fit split."""

    signal: str
    log_odds: float


class Action(StrEnum):
    """What gate can do next. Closed: a new action is a change of the API."""

    ANSWER = "answer"
    GATHER = "gather"
    RETRIEVE = "retrieve"
    ESCALATE = "escalate"
    CLARIFY = "clarify"
    ABSTAIN = "abstain"


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a way on is expected to come to, by what is known before it is gone."""

    action: Action
    p: float
    """How likely the answer is right that it brings."""
    cost: float
    """What the question costs from here on if it is gone, mistakes and abstentions included, in US dollars."""
    target: str = ""
    """The upstream it leads to, where there are several to choose from."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """The calibrated probability that the drafted answer is right."""

    p: float
    low: float
    high: float
    """``[low, high]`` is the calibrator's 95 % interval for p (its own uncertainty, not the answer's)."""
    contributions: tuple[Contribution, ...] = ()
    base: float = 0.0
    """Log-odds before any signal: the intercept."""
    calibrated: bool = True  # False when p comes from an uncalibrated fall-back
    out_of_distribution: bool = False
    """True when signals lie, alone or together, outside what the calibrator was fitted on: do not trust p upwards."""
    prospects: tuple[Prospect, ...] = ()
    """Of the ways on, where the calibrator learned what comes of them."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why: which threshold p was held against, in which stage."""

    action: Action
    reason: str
    """A stable code: ``confident``, ``uncertain``, ``budget_spent``, ``out_of_distribution``, ``cut_short`` …"""
    stage: Stage
    confidence: Confidence | None = None
    threshold: float | None = None
    detail: str = ""
    target: str = ""
    """The upstream to go on with, where the rule chose among several; "" = the next of the ladder."""


@dataclass(frozen=True, slots=True)
class Step:
    """One pass of evidence → decision, as it was: the trace's unit."""

    decision: Decision
    signals: SignalVector
    cost: Cost
    """What this step's evidence cost."""
    void: tuple[str, ...] = ()
    """Why no certificate holds for what was seen here, whatever ran as it was certified; empty when one may."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What leaves the gateway. An abstention is an outcome like any other: ``text`` is then the refusal."""

    action: Action
    text: str
    steps: tuple[Step, ...]
    cost: Cost
    generation: Generation | None = None
    """The answer that was let through, with its tokens and tool calls; None when gate abstained."""
    upstream: str = ""
    """Who wrote it."""
    passages: tuple[Passage, ...] = ()
    """What it was answered from; of an abstention, what was found, where the policy shows that."""
    cited: tuple[str, ...] = ()
    """The ids of the passages that bear the answer."""
    hedged: bool = False
    """Whether ``text`` gives an answer although gate abstains: marked as unsure, and outside the promise."""
    reference: str = ""
    """Under which a person was handed the question; "" where none was."""
    withheld: Generation | None = None
    """The answer that was on trial when none was let through; None where one was, or there was nothing to try."""

    @property
    def decision(self) -> Decision:
        return self.steps[-1].decision

    @property
    def void(self) -> tuple[str, ...]:
        """What any step's evidence gave as the reason that no certificate holds."""
        return tuple(dict.fromkeys(reason for step in self.steps for reason in step.void))

    @property
    def confidence(self) -> Confidence | None:
        return self.decision.confidence

    @property
    def answered(self) -> bool:
        return self.action is Action.ANSWER


# --- promises ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certificate:
    """The evidence behind a promise: of ``answered`` held-out answers let through, ``errors`` were wrong.

    ``bound`` is the one-sided Clopper-Pearson upper limit on the error among answers at confidence ``1 - delta``.
    """

    alpha: float
    delta: float
    n: int
    """Held-out questions the whole policy was run on."""
    answered: int
    errors: int
    bound: float
    segment: str
    date: str
    fingerprints: Mapping[str, str]  # of what was running: `gate.assemble.fingerprints`
    labels: str = ""
    """Who said what is right, and how far they are to be trusted."""
    models: Mapping[str, str] = field(default_factory=dict)  # by upstream, as its replies had it: `gate.model_names`
