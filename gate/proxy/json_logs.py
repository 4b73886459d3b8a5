"""What the server logs, as a line each: JSON for machines, or plain where a person looks on.

No user's text stands in it. A log call names what gate knows in its own words; and of an exception that is logged the
kind and the place are kept, but its words only where they are gate's own, for what others' errors say may quote anyone.
"""

from __future__ import annotations

import logging
import logging.config
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

from gate.errors import GateError
from gate.log.entries import Entry

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is worked on: set by the proxy, and in every line that is logged meanwhile."""
_access = logging.getLogger("gate.access")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
"""What every record has, and uvicorn's second wording of its messages: anything else was given as ``extra``."""


class JsonFormatter(logging.Formatter):
    """``ts`` (UTC, ISO 8601), ``level``, ``logger``, ``message``, ``request_id`` if there is one, and extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if asked := request_id.get():
            said["request_id"] = asked
        said |= _extra(record)
        if fault := _fault(record):
            said["exception"] = fault
        return _dumps(said)


class PlainFormatter(logging.Formatter):
    """The same on one line for a person; a fault's places below it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        more = _extra(record)
        if asked := request_id.get():
            more = {"request_id": asked, **more}
        told = " ".join(f"{name}={value}" for name, value in more.items())
        line = f"{at} {record.levelname.lower():<7} {record.name}: {record.getMessage()}{'  ' if told else ''}{told}"
        shown = "".join(mark if mark.isprintable() else "\ufffd" for mark in line)
        return "\n".join((shown, *(f"    {part}" for part in _fault(record))))


def logging_config(*, as_json: bool | None = None, level: str = "INFO", access: bool = False) -> dict[str, Any]:
    """For `logging.config.dictConfig` and ``log_config`` of uvicorn, whose loggers go the same way: to stderr.

    ``as_json`` None: JSON unless stderr is a terminal. ``access``: a line for each request, see `log_access`.
    """
    if as_json is None:
        as_json = not sys.stderr.isatty()
    kind = JsonFormatter if as_json else PlainFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": f"{__name__}.{kind.__name__}"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "gate": {"level": level},
            "gate.access": {"level": "INFO" if access else "CRITICAL"},
            "uvicorn": {"level": level, "handlers": [], "propagate": True},
            "uvicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": True},
        },
    }


def configure(*, as_json: bool | None = None, level: str = "INFO", access: bool = False) -> None:
    """Log this way from here on."""
    logging.config.dictConfig(logging_config(as_json=as_json, level=level, access=access))


def log_access(entry: Entry) -> None:
    """One line about a request: what was decided and what it took. No text, no key, no query."""
    if not _access.isEnabledFor(logging.INFO):
        return
    record = entry.record
    decision = record.steps[-1].decision if record.steps else None
    confidence = decision.confidence if decision else None
    _access.info(
        "%s %d",
        entry.door,
        entry.status,
        extra={
            "decision": record.id,
            **({"request_id": entry.request_id} if entry.request_id and not request_id.get() else {}),
            "policy": record.policy,
            "action": record.action.value if record.action else "error",
            "reason": decision.reason if decision else "",
            "p": round(confidence.p, 4) if confidence else None,
            "certified": record.certified,
            "mode": entry.mode,
            "streamed": entry.streamed,
            "retracted": entry.retracted,
            "seconds": round(entry.seconds, 6),
            "calls": record.cost.calls,
            "prompt_tokens": record.cost.prompt_tokens,
            "completion_tokens": record.cost.completion_tokens,
            "money": record.cost.money,
        },
    )


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _fault(record: logging.LogRecord) -> list[str]:
    """What was raised, from the first cause on, each with the places it came through."""
    error = record.exc_info[1] if record.exc_info else None
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    said = []
    for each in reversed(chain):
        words = f": {each}" if isinstance(each, GateError) else ""
        said.append(f"{type(each).__module__}.{type(each).__qualname__}{words}")
        said += [f"at {at.filename}:{at.lineno} {at.name}" for at in traceback.extract_tb(each.__traceback__)]
    return said


def _dumps(said: dict[str, Any]) -> str:
    try:
        return orjson.dumps(said, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate, say
        sound = {name: str(value).encode("utf-8", "replace").decode() for name, value in said.items()}
        return orjson.dumps(sound).decode()
