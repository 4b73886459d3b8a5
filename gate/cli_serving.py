"""The command ``gate serve``."""

from __future__ import annotations

import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from gate.errors import RequestError
from gate.terminal import filled, out, plainly, policy_view

if TYPE_CHECKING:
    from gate.proxy.serving import Extras
    from gate.proxy.settings import ServerSettings

HELP = """Serve the gate as an OpenAI-compatible endpoint: point any client's base_url at it.

Without --config it serves one policy, on loopback, to whoever is on this machine. Options given here go before what a
--config file says.
"""


def register(app: typer.Typer) -> None:
    app.command(help=filled(HELP))(serve)


@plainly
def serve(
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", "-p", help="A shipped policy's name, or a policy file; the first is the default."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="The server's settings, a YAML file.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes that share the port.")] = None,
    keys: Annotated[Path | None, typer.Option(help="The file of client keys: see 'gate keys'.")] = None,
    log: Annotated[
        str | None, typer.Option(help="Keep a decision log: sqlite:///decisions.db or postgresql://….")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="What the log keeps: scalars, hashed (also a hash of the question), or text.")
    ] = None,
    audit_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the decisions drawn for a person to check: .05.")
    ] = None,
    full_evidence: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the requests for which all evidence is bought afterwards: 0."),
    ] = None,
    observe: Annotated[
        bool, typer.Option("--observe", help="Let every first draft out and only record what gate would have done.")
    ] = False,
    trace: Annotated[Path | None, typer.Option("--trace", help="Append traces to this JSON-lines file.")] = None,
    text: Annotated[bool, typer.Option(help="Keep questions and answers in the trace file.")] = False,
    states: Annotated[
        bool, typer.Option("--states", help="With --text: keep internal states too. Text can be told from them.")
    ] = False,
    access_log: Annotated[bool, typer.Option("--access-log", help="A line for each request, no text in it.")] = False,
    otel: Annotated[bool, typer.Option("--otel", help="Send OpenTelemetry spans: see OTEL_EXPORTER_OTLP_….")] = False,
) -> None:
    from gate.proxy.serving import Extras, check

    if states and not (trace and text):
        raise RequestError("--states goes with --trace and --text: without its text a trace is not replayed")
    if text and not trace:
        raise RequestError("--text goes with --trace: what the decision log keeps, --keep says")
    policies = tuple(policy) if policy else None
    given = {"policies": policies, "host": host, "port": port, "workers": workers, "keys": keys}
    parts: dict[str, dict[str, Any]] = {
        "log": {"url": log, "url_env": None if log is None else "", "keep": keep},
        "audit": {"share": audit_share, "full_evidence": full_evidence},
    }
    settings = _settings(config, given, parts)
    check(settings)
    if settings.audit.full_evidence and not (settings.log.holds_text or (trace and text)):
        raise RequestError("--full-evidence is bought for nothing where no text is kept: add --log … --keep text")
    key = "" if settings.keys else secrets.token_urlsafe(18)
    _run(settings, Extras(trace, text, states, access_log, otel, observe, key))


def _run(settings: ServerSettings, extras: Extras) -> None:
    from gate.assemble import load_answering
    from gate.proxy.json_logs import configure, logging_config
    from gate.proxy.protocol import guarded
    from gate.proxy.serving import counting_restarts, make_app, observing
    from gate.proxy.workers import run

    configure(access=extras.access_log)
    load = observing if extras.observe else load_answering
    for source in settings.policies:
        out.print(policy_view(load(source)))
    if settings.dashboard and extras.dashboard_key:
        shown = f"dashboard: {_dashboard(settings)}   key for this run: {extras.dashboard_key}"
        out.print(Text(shown, style="dim"), soft_wrap=True)
    logging = logging_config(access=extras.access_log)
    options = {"http": guarded(settings.limits), "ws": "none", "proxy_headers": False}
    with counting_restarts(settings) as on_restart:
        app = partial(make_app, settings, extras)
        run(app, settings, log_config=logging, on_restart=on_restart, options=options)


def _settings(config: Path | None, given: dict[str, Any], parts: dict[str, dict[str, Any]]) -> ServerSettings:
    """Those of the file, with what is not None put in its place: whole keys, and keys of parts."""
    from pydantic import ValidationError

    from gate.proxy.settings import ServerSettings, read_settings

    held = (read_settings(config) if config else ServerSettings()).model_dump()
    for name, part in parts.items():
        held[name] |= _said(part)
    try:
        made = ServerSettings.model_validate(held | _said(given))
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestError(f"--{first['loc'][-1]}: {first['msg']}") from error
    if parts["log"]["keep"] is not None and not (made.log.url or made.log.url_env):
        raise RequestError("--keep says what a log keeps, and none is kept: give --log too")
    return made


def _said(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _dashboard(settings: ServerSettings) -> str:
    """Where it is; of a port that is still to be found, only the path."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}/dashboard" if settings.port else "/dashboard"
