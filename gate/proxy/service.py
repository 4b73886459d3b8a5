"""What the endpoints of one worker share: policies, keys, limits, the log, metrics; and the small questions to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from gate.errors import RequestError
from gate.gateway import Gateway
from gate.log.entries import Entry
from gate.log.opening import DecisionLog
from gate.policy import Policy
from gate.ports import Price
from gate.proxy.conversations import Conversations
from gate.proxy.drift import PromiseWatch
from gate.proxy.exchange import Exchange
from gate.proxy.fault_metrics import Watched, watched
from gate.proxy.idempotency.once import Once
from gate.proxy.json_logs import log_access
from gate.proxy.keys import ANYONE, Client, Keys, Rate, Role
from gate.proxy.limits import Admitted, Limiter, SharedLimiter
from gate.proxy.metrics import Metrics
from gate.proxy.policies import Policies
from gate.proxy.request_fields import ChatRequest
from gate.proxy.settings import ServerSettings
from gate.proxy.spans import Spans
from gate.state.opening import Store
from gate.traces import TraceRecord

GATE_MODEL = "gate"
"""The model name that stands for a client's default policy."""
NAME_SHOWN = 64
"""Characters of a name that a client made up which an error repeats."""
_UNLIMITED = Rate()
_RECENT = 0.1
"""The weight of the newest question in what one usually costs."""
TraceSink = Callable[[TraceRecord], None]


@dataclass(slots=True)
class Service:
    """One worker's. Belongs to one event loop."""

    policies: Policies
    settings: ServerSettings = field(default_factory=ServerSettings)
    keys: Keys | None = None
    """None: whoever reaches the server may ask."""
    limiter: Limiter | SharedLimiter | None = None
    store: Store | None = None
    """What this server shares with others; the application closes it."""
    once: Once | None = None
    """Answers what comes again under one idempotency key; None: the keys mean nothing here."""
    metrics: Metrics = field(default_factory=Metrics)
    log: DecisionLog | None = None
    watch: PromiseWatch | None = None
    spans: Spans | None = None
    conversations: Conversations = field(default_factory=Conversations)
    """Those that a guardrail was shown, until their answers come."""
    trace_sink: TraceSink | None = None
    """Gets every question's trace, on a thread."""
    trace_failing: bool = False
    """Whether the last trace could not be written."""
    access_log: bool = False
    usual_money: dict[str, float] = field(default_factory=dict)
    """What a question that a policy decided has cost lately, in US dollars: an exponential mean, by policy."""
    draw: Callable[[], float] = field(default_factory=lambda: random.Random().random)
    """Uniform in [0, 1): what is left to chance."""

    def known(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The name of the client whose key the headers hold; None where they hold none that is one. Where no keys are
        kept, all are one."""
        if self.keys is None:
            return ANYONE.name
        said = dict(headers)
        key, other = (said.get(name) for name in (b"authorization", b"x-api-key"))
        texts = (None if value is None else value.decode("ascii", "replace") for value in (key, other))
        client = self.keys.identify(*texts)
        return None if client is None else client.name

    def client(self, exchange: Exchange, *roles: Role) -> Client:
        """Who asks. Raises `RequestError`: 401 for no key or a wrong one, 403 where it has none of the roles."""
        if self.keys is None:
            return ANYONE
        client = self.keys.authenticate(exchange.header(b"authorization"), exchange.header(b"x-api-key"))
        if not any(client.may(role) for role in roles):
            raise RequestError(
                f"this key has not the role {' or '.join(map(repr, roles))}", status=403, code="forbidden"
            )
        return client

    async def admit(self, client: Client, tokens: Callable[[], int], money: Callable[[], float]) -> Admitted | None:
        """Let a client in, charged in advance for so many tokens and US dollars; None where nothing of it is limited.
        What has no limit is not asked for. Waits only for counts that several machines share. Raises `RequestError`
        where it may not ask now (429), or that cannot be known (503)."""
        if self.limiter is None or (client.spend is None and client.rate == _UNLIMITED):
            return None
        counted = 0 if client.rate.tokens_per_minute is None else tokens()
        foreseen = 0.0 if client.spend is None else money()
        if isinstance(self.limiter, Limiter):
            return self.limiter.admit(client, counted, foreseen)
        return await self.limiter.admit(client, counted, foreseen)

    async def admit_repeat(self, client: Client) -> Admitted | None:
        """Let a client in for what another request of its is answered with: one request and one place, no token and no
        money. Raises as `admit`."""
        if self.limiter is None or client.rate == _UNLIMITED:
            return None
        client = replace(client, spend=None)
        if isinstance(self.limiter, Limiter):
            return self.limiter.admit(client, None)
        return await self.limiter.admit(client, None)

    def settle(self, admitted: Admitted | None, tokens: int, money: float) -> None:
        """What it took in truth; US dollars."""
        if admitted is not None and self.limiter is not None:
            self.limiter.settle(admitted, tokens, money)

    def refund(self, admitted: Admitted | None) -> None:
        """It was refused after all, and cost nothing."""
        if admitted is not None and self.limiter is not None:
            self.limiter.refund(admitted)

    def left(self, client: Client) -> Mapping[str, str]:
        """The headers that tell a client which may not ask now what it has left."""
        return {} if self.limiter is None else self.limiter.headers(client)

    def policy_of(self, client: Client, asked: ChatRequest) -> str:
        """The policy a request is for. Raises `RequestError` (404) for one that is not there, or not for this key:
        which of the two is nobody's business."""
        wanted = asked.policy or ("" if asked.model == GATE_MODEL else asked.model)
        if asked.policy and asked.model not in (GATE_MODEL, asked.policy):
            model, policy = asked.model[:NAME_SHOWN], asked.policy[:NAME_SHOWN]
            said = f"the model is {model!r} and gate.policy {policy!r}: with that the model is {GATE_MODEL!r}"
            raise RequestError(said, param="gate.policy")
        mine = self.policies_of(client)
        if not wanted:
            return mine[0]
        if wanted not in mine:
            known = ", ".join((GATE_MODEL, *mine))
            param = "gate.policy" if asked.policy else "model"
            raise RequestError(f"there is no model {wanted[:NAME_SHOWN]!r}; there is: {known}", param=param, status=404)
        return wanted

    def policies_of(self, client: Client) -> tuple[str, ...]:
        """Those a client may use, its default first. Raises `RequestError` (404) where none of them is served any
        more."""
        served = self.policies.names
        mine = tuple(name for name in client.policies if name in served) if client.policies else served
        if not mine:
            said = "none of the policies that this key may use is served here now"
            raise RequestError(said, param="model", status=404, code="policy_not_found")
        return mine

    def price(self, upstream: str) -> Price:
        """What an upstream, or an embedder, of any policy charges."""
        for gateway in self.policies.all():
            if upstream in gateway.plan.prices:
                return gateway.plan.prices[upstream]
        return Price()

    def certificate(self, gateway: Gateway, *records: TraceRecord) -> str:
        """What is to be thought of the promise behind these answers, in a word and the reasons."""
        if gateway.certificate is None:
            return "none"
        void = (*gateway.void, *(reason for record in records for step in record.steps for reason in step.void))
        return f"void; {'; '.join(dict.fromkeys(void))}" if void else "certified"

    def upstreams(self) -> list[Watched]:
        """How those do who are asked for the policies that are served."""
        return [each for gateway in self.policies.all() for each in watched(gateway)]

    def note_upstreams(self, gateway: Gateway) -> None:
        """Count how they did, before the policy is forgotten."""
        for each in watched(gateway):
            self.metrics.faults.note(each)

    def keep(self, entry: Entry, policy: Policy, exchange: Exchange) -> Future[bool] | None:
        """Count a decision, and have it logged. Takes microseconds: what is slow happens elsewhere. Where the log is
        durable, what is returned tells whether the decision came into it."""
        self.metrics.observe(entry)
        self._note_money(entry)
        told = None
        if self.log is not None and self.durable:
            told = self.log.writer.keep(entry)
        elif self.log is not None:
            self.log.writer.put(entry)
        if self.spans is not None:
            parent, state = exchange.header(b"traceparent") or "", exchange.header(b"tracestate") or ""
            self.spans.record(entry, policy, traceparent=parent, tracestate=state)
        if self.access_log:
            log_access(entry)
        return told

    def unsent(self, decisions: Iterable[str], status: int) -> None:
        """Decisions that `keep` was given, and nobody was told of: their response was this."""
        if self.log is not None:
            self.log.writer.amend(decisions, status)

    def _note_money(self, entry: Entry) -> None:
        """Not of what only observes, where the draft alone is charged, nor of what failed."""
        record = entry.record
        if entry.mode == "enforce" and record.outcome is not None:
            before = self.usual_money.get(record.policy, record.cost.money)
            self.usual_money[record.policy] = before + _RECENT * (record.cost.money - before)

    @property
    def replayed(self) -> bool:
        """Whether what is recorded may be replayed: the whole of it is kept, or more evidence gathered beside it."""
        logged = self.log is not None and self.settings.log.keep == "text"
        return logged or self.trace_sink is not None or self.settings.audit.full_evidence > 0

    @property
    def refusing(self) -> bool:
        """Whether nothing may be decided now, because it could not be logged."""
        if self.log is None:
            return False
        return self.log.writer.full or (self.durable and self.log.writer.away)

    @property
    def durable(self) -> bool:
        """Whether nobody is told of a decision that is not in the log."""
        return self.settings.log.durable
