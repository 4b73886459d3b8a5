"""Every seam of gate on one page: read this first. What an upstream may offer beside them is in `gate.live_ports`.

To add a signal, an evidence source, a calibrator, a rule, a route, an upstream or a retriever, write one file that
fits the protocol here and add one line to that folder's tuple. The conformance tests run over those tuples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import orjson
from typing_extensions import TypeIs

from gate.effects import Embed, Entail, Flow, Generate, HandOver, Retrieve
from gate.prompts import Prompt
from gate.types import (
    Action,
    Confidence,
    Cost,
    Decision,
    Entailments,
    Generation,
    Generations,
    JsonObject,
    Message,
    Passage,
    Question,
    SignalVector,
    Stage,
    Vectors,
)

# --- evidence: facts that cost something -------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """The root of all evidence. ``cost`` is what gathering it cost."""

    cost: Cost


F = TypeVar("F", bound=Fact)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts of one round, keyed by their class, and the reasons for those that could not be had."""

    facts: Mapping[type[Fact], Fact] = field(default_factory=dict)
    missing: Mapping[type[Fact], str] = field(default_factory=dict)
    void: tuple[str, ...] = ()
    """Why no certificate that needed these facts holds: see `EvidenceUnavailable`."""

    def find(self, kind: type[F]) -> F | None:
        fact = self.facts.get(kind)
        return fact if isinstance(fact, kind) else None

    def having(self, fact: Fact) -> Evidence:
        return Evidence({**self.facts, type(fact): fact}, self.missing, self.void)

    def lacking(self, kind: type[Fact], reason: str, *, voids: bool = False) -> Evidence:
        void = (*self.void, reason) if voids else self.void
        return Evidence(self.facts, {**self.missing, kind: reason}, void)


@dataclass(frozen=True, slots=True)
class Profile:
    """What an upstream can do, as data: nobody asks which vendor it is."""

    logprobs: bool = True
    """Gives the log-probability of the tokens it generates."""
    top_logprobs: int = 5
    """The most alternatives a token it lists; 0 when it lists none."""
    n: int = 8
    """The most answers it gives to one request; 1 when it cannot give several."""
    tools: bool = True
    seed: bool = True
    stream: bool = False
    """Can tell of an answer while it writes it."""
    states: bool = False
    """Can be read inside while it answers: gives `InternalStates` where they are asked for."""


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of the loop: who is asked what, this time."""

    number: int
    question: Question
    upstream: str
    profile: Profile
    messages: tuple[Message, ...]
    """What the upstream is sent: the question's messages, or a prompt that also holds passages."""
    passages: tuple[Passage, ...] = ()
    found: tuple[Passage, ...] = ()
    """What was retrieved for an upstream before this one, or came with the question: quoted without a search."""
    fetched: tuple[Passage, ...] = ()
    """All that the search found, of which ``passages`` are the first."""
    prompt: Prompt | None = None
    """The prompt the passages are quoted in; None when there are none."""
    calls_left: int | None = None
    """What the budget still allows when a source is asked to gather; None = no limit. Tokens likewise."""
    tokens_left: int | None = None
    cost: Cost = Cost()
    """What opening this round cost, before anything was gathered in it (a search, say)."""
    closed_book: Generation | None = None
    """What this upstream answered without the passages, where an earlier round asked it."""
    drafted: Generation | None = None
    """The draft, where opening the round made it already: its cost is in ``cost``."""
    rivals: tuple[Generation, ...] = ()
    """What was drafted beside it, from the passages of other retrievers."""
    void: tuple[str, ...] = ()
    """Why no certificate holds for what is decided in it, or after it; empty when one may."""

    def stage(self, tier: int) -> Stage:
        return Stage(self.upstream, bool(self.passages), tier)

    @property
    def cites(self) -> bool:
        """Whether its answers cite passages by number."""
        return self.prompt is not None and self.prompt.numbered


@dataclass(frozen=True, slots=True)
class Uses:
    """What an evidence source needs by name, beside the round's own upstream: checked when a policy is loaded.

    Prompts and files are hashed into what a certificate is held against.
    """

    upstreams: tuple[str, ...] = ()
    read_inside: tuple[str, ...] = ()
    """Those of the upstreams whose internal states are read: they must be able to give them."""
    embedders: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    """Judges of entailment."""
    prompts: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    """Each with the fingerprint of what was read from it."""
    fitted_with: tuple[tuple[str, str], ...] = ()
    """Embedders, each with the fingerprint of the one a file was fitted with: no other may run under that name."""


class EvidenceSource(Protocol):
    """Gathers one kind of fact by yielding effects. Raises `EvidenceUnavailable` with the reason when it cannot.

    Registered as a pydantic model whose fields are the options a policy may set under ``evidence.<name>``.
    """

    @property
    def name(self) -> str: ...
    @property
    def provides(self) -> type[Fact]: ...
    @property
    def needs(self) -> tuple[type[Fact], ...]: ...
    @property
    def uses(self) -> Uses: ...

    def calls(self, profile: Profile) -> int:
        """The upstream calls ``gather`` needs: it is not begun without room for them in the budget.

        It may make more, but never more than ``round_.calls_left``.
        """
        ...

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]: ...


# --- signals: pure functions of evidence -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a signal has no value."""

    reason: str


class Signal(Protocol):
    """One number bearing on correctness; higher = more likely correct. No I/O, no state, no effects."""

    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> tuple[type[Fact], ...]: ...
    @property
    def bounds(self) -> tuple[float, float]:
        """The closed range a value lies in."""
        ...

    def measure(self, evidence: Evidence) -> float | Missing: ...


# --- from signals to a decision ----------------------------------------------------------------------------------


class Calibrator(Protocol):
    """Makes one probability of a signal vector. Apply-only: it is loaded fitted."""

    @property
    def fingerprint(self) -> str: ...

    def check(self, signals: tuple[str, ...], stages: tuple[Stage, ...]) -> None:
        """Raise `StaleCalibrator` unless it was fitted for these signals and stages."""
        ...

    def confidence(self, vector: SignalVector, stage: Stage) -> Confidence: ...


class Rule(Protocol):
    """Chooses the next action among those that are open."""

    def decide(self, confidence: Confidence, stage: Stage, open_actions: frozenset[Action]) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """A route that is over: the text to give back, and the answer behind it if there is one."""

    text: str
    generation: Generation | None = None
    passages: tuple[Passage, ...] = ()
    """What the answer came from, or what a refusal shows."""
    cited: tuple[str, ...] = ()
    """The ids of those that bear the answer."""
    cost: Cost = Cost()
    """What ending cost: a question written to ask back, a person told."""
    detail: str = ""
    """What of it failed, for the decision to say."""
    hedged: bool = False
    reference: str = ""
    """See `gate.types.Outcome` for these two."""


class Route(Protocol):
    """Carries out an action: ends, or opens another round."""

    @property
    def action(self) -> Action: ...

    def open(self, round_: Round) -> bool:
        """Whether this route can be taken from here."""
        ...

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        """Raises `EvidenceUnavailable` when it turns out to lead nowhere (nothing retrieved, say)."""
        ...


# --- the outside -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What a wire dialect wants sent to a complete ``url``: JSON by POST, or nothing but the address by GET.

    Headers may hold a key: never log them.
    """

    url: str
    headers: Mapping[str, str]
    body: JsonObject
    method: Literal["POST", "GET"] = "POST"

    @property
    def content(self) -> bytes:
        """The body as it is sent, byte for byte."""
        if self.method == "GET":
            return b""
        body = dict(self.body)
        try:
            return orjson.dumps(body)
        except TypeError:  # half a surrogate pair, which a model or a caller may have written, or a huge integer
            return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, prompt: int, completion: int) -> float:
        """So many tokens, in US dollars."""
        return (prompt * self.prompt + completion * self.completion) / 1e6


E_contra = TypeVar("E_contra", contravariant=True)
V_co = TypeVar("V_co", covariant=True)


class WireEndpoint(Protocol[E_contra, V_co]):
    """Whoever is asked over HTTP: pure encode and decode, no sockets. Drivers do the sending."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str:
        """Changes when who is asked, or the way it is asked, changes."""
        ...

    def encode(self, effect: E_contra) -> HttpRequest: ...

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> V_co:
        """Raise `UpstreamError` for anything but a usable reply: error status, HTML, broken JSON, nothing in it."""
        ...


class LocalEndpoint(Protocol[E_contra, V_co]):
    """Whoever is asked in this process. ``complete`` blocks; drivers run it on a thread."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...

    def complete(self, effect: E_contra, cancelled: Callable[[], bool]) -> V_co:
        """Stop early, raising `UpstreamError`, once ``cancelled()`` is true. Any other error becomes one."""
        ...


class WireModel(WireEndpoint[E_contra, V_co], Protocol[E_contra, V_co]):
    """A model behind HTTP: its tokens have a price."""

    @property
    def price(self) -> Price: ...


class LocalModel(LocalEndpoint[E_contra, V_co], Protocol[E_contra, V_co]):
    """A model in this process."""

    @property
    def price(self) -> Price: ...


class WireUpstream(WireModel[Generate, Generations], Protocol):
    """A language model behind HTTP. Registered as a class with ``kind``, ``Options`` and ``from_options``."""

    kind: ClassVar[str]

    @property
    def profile(self) -> Profile: ...


class LocalUpstream(LocalModel[Generate, Generations], Protocol):
    """A language model in this process. Registered likewise."""

    kind: ClassVar[str]

    @property
    def profile(self) -> Profile: ...


Upstream = WireUpstream | LocalUpstream
Embedder = WireModel[Embed, Vectors] | LocalModel[Embed, Vectors]
"""Makes unit vectors of texts. Registered like an upstream; its ``kind`` is looked up among EMBEDDERS."""
EntailmentJudge = WireModel[Entail, Entailments] | LocalModel[Entail, Entailments]
"""Says what follows from what. Registered like an upstream; its ``kind`` is looked up among JUDGES."""


class WireRetriever(WireEndpoint[Retrieve, tuple[Passage, ...]], Protocol):
    """Finds passages behind HTTP. Registered as a class with ``kind``, ``Options`` and ``from_options(name, options)``.

    More passages than were asked for may come; drivers keep the first ``k``.
    """

    kind: ClassVar[str]

    @property
    def embedder(self) -> str:
        """Who makes the vector of a query that it searches by (`Retrieve.vector`); "" when it needs none."""
        ...


class LocalRetriever(LocalEndpoint[Retrieve, tuple[Passage, ...]], Protocol):
    """Finds passages from this process: in it, or over a protocol of its own. Registered likewise."""

    kind: ClassVar[str]

    @property
    def embedder(self) -> str: ...


Retriever = WireRetriever | LocalRetriever
Person = WireEndpoint[HandOver, str] | LocalEndpoint[HandOver, str]
"""Takes over a question for a human being, and gives the reference under which it is found again ("" = by the key of
the effect). Registered like a retriever; its ``kind`` is looked up among PEOPLE."""
Endpoint = Upstream | Embedder | EntailmentJudge | Retriever | Person


def is_local(endpoint: LocalEndpoint[Any, Any] | WireEndpoint[Any, Any]) -> TypeIs[LocalEndpoint[Any, Any]]:
    """Whether it runs in this process. Asked by its one method: looking at its properties could load a model."""
    return hasattr(endpoint, "complete")
