"""What a wrapped client keeps beside the client: the policy, what its server does not take, the last decisions."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from gate.answer_shapes import Read
from gate.decorator.decided import Abstained, Decided
from gate.decorator.gate import Gate
from gate.decorator.guard_settings import OnAbstention, check_remember, one_of
from gate.decorator.questions import budget_of
from gate.effects import Generate
from gate.errors import AnswerWithheld
from gate.gateway import Gateway
from gate.given import Given, More, paid
from gate.ports import Price, Profile
from gate.traces import TraceRecord
from gate.types import Budget, Cost, Generation, Outcome

Judged = tuple[Outcome, TraceRecord]
_MOST_MODELS = 1000
"""For which it is remembered what a server refuses: names come from callers."""


@dataclass(slots=True, eq=False)
class Gating:
    """Of one wrapped client: safe to share between threads, tasks and event loops."""

    gate: Gate
    written_by: str = ""
    gather: bool | None = None
    on_abstention: OnAbstention = "return"
    able: Profile | None = None
    budget: Budget | None = None
    remember: int = 100
    owned: bool = False
    """Whether the gate was loaded for this client, and is closed with it."""
    decisions: deque[Decided[Any]] = field(init=False)
    """The last ones, the newest at the end."""
    _refused: dict[str, frozenset[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def gateway(self) -> Gateway:
        return self.gate.gateway

    def __post_init__(self) -> None:
        self.gateway.check_writer(self.written_by)
        one_of("on_abstention", self.on_abstention, get_args(OnAbstention))
        check_remember(self.remember)
        budget_of(self.budget)
        self.decisions = deque(maxlen=self.remember)

    def shared(self) -> Gating:
        """For a client made of the wrapped one: the same policy, of which it is not the owner, and a server of its
        own, which may take other things."""
        return replace(self, owned=False, _refused={}, _lock=threading.Lock())

    @property
    def upstream(self) -> str:
        """In whose place the client is asked."""
        return self.written_by or self.gateway.plan.ladder[0]

    def refused(self, model: str) -> frozenset[str]:
        """What its server is known not to take for this model, of the fields that gate adds."""
        return self._refused.get(model, frozenset())

    def learn(self, model: str, refused: frozenset[str]) -> None:
        with self._lock:
            if refused and (model in self._refused or len(self._refused) < _MOST_MODELS):
                self._refused[model] = self.refused(model) | refused

    def profile(self, model: str) -> Profile:
        """What the client can be asked for. A calibrator knows as many alternatives a token as its own upstream
        lists."""
        alternatives = self.gateway.plan.profiles[self.upstream].top_logprobs
        able, refused = self.able or Profile(top_logprobs=alternatives), self.refused(model)
        return replace(
            able,
            logprobs=able.logprobs and "logprobs" not in refused,
            top_logprobs=0 if "top_logprobs" in refused else able.top_logprobs,
            n=1 if "n" in refused else able.n,
            seed=able.seed and "seed" not in refused,
        )

    def given(self, read: Read, draft: Generation, cost: Cost, model: str, ask: Callable[[Generate], Any]) -> Given:
        """One of the answers that a reply holds, to be judged."""
        return Given(
            draft=draft,
            cost=cost,
            more=More(ask, self.profile(model), anything=True, own_words=True),
            gather=self.gather,
            upstream=self.written_by,
            model=read.model,
        )

    def paid(self, read: Read, calls: int, seconds: float) -> Cost:
        """What the draft cost, at the price of the upstream it stands for."""
        price = self.gateway.plan.prices.get(self.upstream, Price())
        return replace(paid(read.usage, price, seconds), calls=calls)

    def told(self, reply: object, judged: Iterable[Judged], *, withhold: bool) -> list[Decided[Any]]:
        """The decisions about one reply. Raises `AnswerWithheld` where no answer came through and that is an error."""
        made: list[Decided[Any]] = [
            Decided(reply if outcome.answered else Abstained(outcome, trace), outcome, trace)
            for outcome, trace in judged
        ]
        self.decisions.extend(made)
        if withhold and not any(each.answered for each in made):
            raise AnswerWithheld(Abstained(made[0].outcome, made[0].trace))
        return made
