"""What is kept of a guarded function: its policy, loaded when it is first called, its decisions, and its calls."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gate.decorator.arguments import Args, Asks, asks
from gate.decorator.decided import Abstained, Decided
from gate.decorator.gate import Gate, shared_gate
from gate.decorator.guard_settings import UNSET, GuardSettings
from gate.decorator.shaped import Form
from gate.errors import AnswerWithheld, ConfigError
from gate.gateway import Gateway
from gate.given import BROUGHT

log = logging.getLogger("gate.decorator.guard")


@dataclass(frozen=True, slots=True)
class Calls:
    """How often a guarded function was called."""

    total: int = 0
    again: int = 0
    """For samples: part of the total."""
    repeated: int = 0
    """Requests that were repeated through a captured client, without calling the function."""


@dataclass(eq=False, slots=True)
class Guarding:
    """One guarded function, apart from how it is called."""

    function: Callable[..., Any]
    named: str
    settings: GuardSettings
    form: Form
    """How its answers are read and written."""
    awaited: bool
    once: Callable[[Args, Mapping[str, Any]], Any]
    """Calls the function for a whole answer; where it is awaited, gives a coroutine of that."""
    asks: Asks | None = None
    decisions: deque[Decided[Any]] = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _calls: Calls = Calls()
    _gate: Gate | None = None
    _told: bool = False

    def __post_init__(self) -> None:
        """Raises `ConfigError` where nobody can tell which argument is the question."""
        self.decisions = deque(maxlen=self.settings.remember)
        try:
            self.asks = asks(self.function, self.settings.question, self.named)
        except ConfigError:
            if self.settings.samples != "captured" or self.settings.question is not None:
                raise  # else it is the conversation that is captured

    @property
    def gate(self) -> Gate:
        """Loaded when it is first asked for. Raises `ConfigError`."""
        if self._gate is None:
            gate = shared_gate(self.settings.policy)
            gate.gateway.check_writer(self.settings.written_by)
            with self.lock:
                if self._gate is None:
                    self._warn(gate.gateway)
                    self._gate = gate
        return self._gate

    def _warn(self, gateway: Gateway) -> None:
        """Once: that something the policy looks at will always be missing."""
        if self.settings.samples != "none" or self.asks_the_policys_own(gateway):
            return
        sources = [each for tier in gateway.plan.tiers for each in tier]
        asking = [each.name for each in sources if each.name != "draft" and each.calls(BROUGHT) > 0]
        if asking:
            said = "%s is never called again, so the policy %r gets no %s of it: samples='again' allows it"
            log.warning(said, self.named, gateway.name, ", ".join(dict.fromkeys(asking)))

    def asks_the_policys_own(self, gateway: Gateway) -> bool:
        """Whether the upstream that the function stands for is there to be asked for more."""
        name = self.settings.written_by
        return bool(name) and not gateway.brings(name) and self.settings.gather is not False

    @property
    def gathers(self) -> bool | Literal["evidence"] | None:
        """What was shown cannot be taken back: then no other answer is looked for."""
        shown = self.form.in_pieces and self.settings.streaming == "annotate"
        return "evidence" if shown and self.settings.gather is not False else self.settings.gather

    @property
    def calls(self) -> Calls:
        return self._calls

    def count(self, *, again: int = 0) -> None:
        with self.lock:
            was = self._calls
            self._calls = Calls(was.total + 1, was.again + again, was.repeated)

    def count_repeated(self) -> None:
        with self.lock:
            self._calls = replace(self._calls, repeated=self._calls.repeated + 1)

    def saw_no_request(self) -> None:
        """Warns, once, that there was nothing to repeat."""
        with self.lock:
            told, self._told = self._told, True
        if not told:
            said = (
                "%s made no request that gate.capture could see, so there is nothing to repeat: ask through the "
                "captured client, and on a thread of your own within contextvars.copy_context().run"
            )
            log.warning(said, self.named)

    def remembered(self) -> tuple[Decided[Any], ...]:
        with self.lock:
            return tuple(self.decisions)

    def remember(self, decided: Decided[Any]) -> Decided[Any]:
        with self.lock:
            self.decisions.append(decided)
        return decided

    def resolved(self, decided: Decided[Any]) -> Any:
        """What is returned. Raises `AnswerWithheld`."""
        if not isinstance(decided.value, Abstained):
            return decided.value
        if self.settings.default is not UNSET:
            return self.settings.default
        if self.settings.on_abstention == "return":
            return decided.value
        raise AnswerWithheld(decided.value)
