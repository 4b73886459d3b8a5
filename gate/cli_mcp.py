"""The command ``gate mcp``."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from gate.errors import RequestError
from gate.terminal import filled, plainly

HELP = """Serve policies to agents over the Model Context Protocol: the tools 'ask' and 'judge'.

Over stdio, to whoever starts the command; with --http on loopback, at http://HOST:PORT/mcp. An agent may choose among
the policies that are given here; the first is the default.
"""
_HOST, _PORT = "127.0.0.1", 8801


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command(name="mcp", help=filled(HELP))(mcp)


@plainly
def mcp(
    policies: Annotated[
        list[str] | None, typer.Argument(help="Shipped policies by name, or policy files. Without: balanced.")
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP instead of stdio.")] = False,
    host: Annotated[str | None, typer.Option(help=f"With --http: loopback address to listen on: {_HOST}.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help=f"With --http: port, 0 takes a free one: {_PORT}.")
    ] = None,
) -> None:
    if not http and (host is not None or port is not None):
        raise RequestError("--host and --port go with --http: without it the server speaks over stdin and stdout")
    from gate.integrations import mcp_server
    from gate.proxy.json_logs import configure, logging_config
    from gate.proxy.policies import Policies

    configure()
    if http:
        mcp_server.refuse_others(host or _HOST)
    loaded = Policies.load(policies or ["balanced"])
    if not http:
        # the thread that waits for input cannot be interrupted: the default ends the process at once
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        mcp_server.serve_stdio(loaded)
        return
    from gate.proxy.settings import ServerSettings
    from gate.proxy.workers import run

    settings = ServerSettings(host=host or _HOST, port=_PORT if port is None else port)
    options = {"ws": "none", "proxy_headers": False}
    run(lambda: mcp_server.http_app(loaded, settings.host), settings, log_config=logging_config(), options=options)
