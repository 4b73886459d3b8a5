"""Every error gate raises, in one tree.

::

    GateError
    ├─ ConfigError              a policy, prompt or artefact cannot be used; names the file, the line and what would do
    │  ├─ UnknownName           a name that stands for nothing; lists the nearest ones that do
    │  ├─ MissingExtra          a package that an extra brings is not installed; names the pip line
    │  └─ StaleCalibrator       fitted for other signals, prompts or upstreams than the ones that run
    ├─ RequestError             the caller's fault (HTTP 4xx)
    ├─ UpstreamError            a model endpoint failed; carries its name, the HTTP status and whether a retry may help
    │  └─ UpstreamTimeout       … by not answering before the deadline
    ├─ EvidenceUnavailable      a fact could not be gathered; the pipeline turns it into a missing signal
    ├─ AnswerWithheld           an answer was not let through, and the caller wants that to be an exception
    └─ ReplayGap                a replay needs a reply that was never recorded

Abstaining is not an error but a `Decision`: `AnswerWithheld` is raised only where a caller has asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gate.agents.verdict import ToolRefused
    from gate.decorator.decided import Abstained
    from gate.traces import TraceRecord
    from gate.types import Cost

__all__ = [
    "AnswerWithheld",
    "ConfigError",
    "EvidenceUnavailable",
    "GateError",
    "MissingExtra",
    "ReplayGap",
    "RequestError",
    "StaleCalibrator",
    "UnknownName",
    "UpstreamError",
    "UpstreamTimeout",
]


class GateError(Exception):
    """The root: catch this to catch everything gate raises on purpose."""

    trace: TraceRecord | None = None
    """What had happened to the question until then, where a question was being answered."""
    cost: Cost | None = None
    """What the work that failed cost, where something was counted: calls that fail were made all the same."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way between processes, whatever the constructor of a subclass takes."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[GateError], args: tuple[Any, ...], state: dict[str, Any]) -> GateError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def first_of(error: BaseException) -> BaseException:
    """The error itself; of a group of errors the first, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def trace_of(error: BaseException) -> TraceRecord | None:
    """What had happened to a question until this error: gate's own, a cancellation, or a fault of any kind."""
    return getattr(first_of(error), "trace", None)


class ConfigError(GateError):
    """What was configured cannot run. ``where`` is ``file:line`` when known."""

    def __init__(self, message: str, *, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class UnknownName(ConfigError):
    """A name stands for nothing that exists."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}; {hint}known: {', '.join(names) or 'none'}", where=where)
        self.name = name


class MissingExtra(ConfigError):
    """A package that an optional extra brings is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package!r}; install it with: pip install 'gate-llm[{extra}]'")


class StaleCalibrator(ConfigError):
    """A calibrator was fitted for other inputs than the ones it is given."""


class RequestError(GateError):
    """The request itself cannot be served.

    ``param`` names the offending field, ``status`` is the HTTP status, ``code`` a stable word for programs,
    ``retry_after`` the seconds after which the same request may be served, where waiting helps.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        status: int = 400,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.code = code
        self.retry_after = retry_after


class UpstreamError(GateError):
    """A model endpoint failed. The message names the upstream and the cause in gate's own words, fit for any log.

    ``said`` is what the server said of it. It may quote the user's text, so it stands apart: whoever asked may read it
    (``in_full``), and no trace kept without text holds it. Keys are masked in it. ``param`` is the field of the request
    that the server blames, where its reply names one. ``unsent``: the request cannot have arrived.
    """

    final = False
    """Whether it came after a part of the answer had been shown: then nothing is asked again."""

    def __init__(
        self,
        upstream: str,
        cause: str,
        *,
        said: str = "",
        param: str | None = None,
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        unsent: bool = False,
    ) -> None:
        super().__init__(f"upstream {upstream!r}: {cause}")
        self.upstream = upstream
        self.cause = cause
        self.said = said
        self.param = param
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.unsent = unsent

    @property
    def in_full(self) -> str:
        """The message with the server's own words: for the one who asked, and for nobody's log."""
        return f"{self}: {self.said}" if self.said else str(self)


class UpstreamTimeout(UpstreamError):
    """A model endpoint did not answer before the deadline."""


class EvidenceUnavailable(GateError):
    """A fact could not be gathered; the message is the reason shown beside the missing signal.

    ``voids``: not for this once, but because what runs is not what was certified (another model answers, say): no
    certificate that needed the fact holds. ``code``: a stable word for programs, where the failure closes a way.
    """

    def __init__(self, reason: str, cost: Cost | None = None, *, voids: bool = False, code: str = "") -> None:
        super().__init__(reason)
        self.cost = cost
        self.voids = voids
        self.code = code


class ReplayGap(GateError):
    """A recorded trace holds no reply for what the flow asked: it cannot be judged from this trace."""


class AnswerWithheld(GateError):
    """An answer was not let through, or a tool call not made. Its words may be said to whoever asked."""

    def __init__(self, abstained: Abstained | ToolRefused) -> None:
        super().__init__(abstained.text)
        self.abstained = abstained
        self.trace = abstained.trace
