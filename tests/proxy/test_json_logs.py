"""Lines that machines and people read; uvicorn's too; and nobody's text in them."""

from __future__ import annotations

import json
import logging
import logging.config
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gate.errors import ConfigError
from gate.proxy import json_logs
from gate.proxy.json_logs import JsonFormatter, PlainFormatter, log_access, logging_config, request_id
from tests.proxy.entries import SECRET, asked, entry_of, failed_entry


def record(message: str = "done %d", *args: Any, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("gate.proxy").makeRecord(
        "gate.proxy", logging.WARNING, __file__, 1, message, args or (7,), extra.pop("exc_info", None), extra=extra
    )


def test_a_line_of_json() -> None:
    said = json.loads(JsonFormatter().format(record(policy="mine", p=0.9)))
    assert datetime.fromisoformat(said.pop("ts")).utcoffset() is not None
    assert said == {"level": "warning", "logger": "gate.proxy", "message": "done 7", "policy": "mine", "p": 0.9}


def test_the_request_under_way_is_named() -> None:
    token = request_id.set("req-1")
    try:
        assert json.loads(JsonFormatter().format(record()))["request_id"] == "req-1"
        assert "request_id=req-1" in PlainFormatter().format(record())
    finally:
        request_id.reset(token)
    assert "request_id" not in json.loads(JsonFormatter().format(record()))


@pytest.mark.parametrize("odd", ["two\nlines", "\x1b[31mred", "a\u2028b", "lone \ud800"])
def test_nothing_makes_a_second_line(odd: str) -> None:
    line = JsonFormatter().format(record("%s", odd, more=odd))
    assert "\n" not in line
    assert "\x1b" not in line
    assert json.loads(line)["message"].isascii() or odd in json.loads(line)["message"]
    plain = PlainFormatter().format(record("%s", odd, more=odd))
    assert plain.isprintable()


def raised(error: Exception) -> Any:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as inner:
            raise error from inner
    except type(error):
        return sys.exc_info()


def test_of_a_fault_the_kind_and_the_place_are_told_and_words_only_if_they_are_ours() -> None:
    said = json.loads(JsonFormatter().format(record(exc_info=raised(ValueError(SECRET)))))
    kinds = [part for part in said["exception"] if not part.startswith("at ")]
    assert kinds == ["builtins.KeyError", "builtins.ValueError"]
    assert any(__file__ in part and part.endswith("raised") for part in said["exception"])
    ours = JsonFormatter().format(record(exc_info=raised(ConfigError("no such key", where="a.yaml:3"))))
    assert "gate.errors.ConfigError: a.yaml:3: no such key" in ours
    plain = PlainFormatter().format(record(exc_info=raised(ValueError(SECRET))))
    assert SECRET not in json.dumps(said) + ours + plain
    assert "    builtins.ValueError\n    at " in plain


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.fixture
def _logging_restored() -> Any:
    kept = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in map(
        logging.getLogger, ("", "gate", "gate.access", "uvicorn", "uvicorn.access", "uvicorn.error")
    )]  # fmt: skip
    yield
    for logger, handlers, level, propagate in kept:
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate


@pytest.mark.usefixtures("_logging_restored")
def test_a_request_is_a_line_and_holds_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    json_logs.configure(access=True)
    log_access(entry_of(asked(), key="team-a", request_id="req-9", streamed=True))
    log_access(failed_entry())
    first, second = lines(capsys)
    assert first.pop("ts")
    assert first == {
        "level": "info", "logger": "gate.access", "message": "chat 200", "decision": "feed", "request_id": "req-9",
        "policy": "balanced", "action": "answer", "reason": "confident", "p": 0.9123, "certified": True,
        "mode": "enforce", "streamed": True, "retracted": False, "seconds": 0.5, "calls": 6, "prompt_tokens": 60,
        "completion_tokens": 18, "money": 0.25,
    }  # fmt: skip
    assert (second["message"], second["action"], second["p"]) == ("chat 502", "error", None)
    assert SECRET not in json.dumps([first, second])
    json_logs.configure(access=False)
    log_access(entry_of())
    assert lines(capsys) == []


@pytest.mark.usefixtures("_logging_restored")
def test_uvicorn_and_libraries_go_the_same_way_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    json_logs.configure()
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[1mStarted"})
    logging.getLogger("uvicorn.access").info("GET /v1/x?key=%s", SECRET)
    logging.getLogger("aiohttp").warning("slow")
    logging.getLogger("aiohttp").info("chatter")
    assert [(said["logger"], said["message"]) for said in lines(capsys)] == [
        ("uvicorn.error", "Started"),
        ("aiohttp", "slow"),
    ]


def test_a_person_gets_plain_lines_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(**kept: Any) -> str:
        return str(logging_config(**kept)["formatters"]["line"]["()"]).rpartition(".")[2]

    assert kind() == "JsonFormatter"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert kind() == "PlainFormatter"
    assert kind(as_json=True) == "JsonFormatter"
    assert kind(as_json=False) == "PlainFormatter"


def test_in_a_server_every_line_is_json() -> None:
    program = """
import logging, os, signal, threading
import uvicorn
from gate.proxy.json_logs import logging_config

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (kind := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

config = uvicorn.Config(app, port=0, log_config=logging_config(as_json=True), timeout_graceful_shutdown=1)
server = uvicorn.Server(config)
threading.Timer(0.3, lambda: setattr(server, "should_exit", True)).start()
server.run()
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert any(line["message"].startswith("Uvicorn running on http://127.0.0.1:") for line in said)
    assert {line["logger"] for line in said} == {"uvicorn.error"}
    assert done.stdout == ""
