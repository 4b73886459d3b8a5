"""An application for workers to serve: it says which process answers, can be slow, and notes its end in a file."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gate.errors import ConfigError


def make_app(folder: str) -> Starlette:
    if Path(folder, "broken").exists():
        raise ConfigError("no such policy", where="mine.yaml:3")
    heard: list[int] = []
    closed = Path(folder, f"closed-{os.getpid()}")

    async def who(request: Request) -> JSONResponse:
        if name := request.query_params.get("note"):
            Path(folder, f"asked-{name}").touch()  # noqa: ASYNC240 so a test knows that it was accepted
        await asyncio.sleep(float(request.query_params.get("seconds", 0)))
        return JSONResponse({"pid": os.getpid(), "hangups": len(heard)})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, heard.append, 1)
        yield
        await asyncio.sleep(0.05)
        closed.touch()  # noqa: ASYNC240 nobody is served any more

    return Starlette(routes=[Route("/", who)], lifespan=lifespan)
