"""Run the application: uvicorn, with uvloop and httptools."""

from __future__ import annotations

import contextlib

import uvicorn
from starlette.applications import Starlette

GRACE = 20
"""Seconds a stopping server gives requests under way."""


def serve(app: Starlette, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; then finish what was started, and close. TLS is the front server's work."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="info",
        access_log=False,
        timeout_graceful_shutdown=GRACE,
        server_header=False,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again once it has shut down in good order
        uvicorn.Server(config).run()
