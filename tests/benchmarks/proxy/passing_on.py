"""The least a Python gateway can do: aiohttp's server and client on uvloop, the body in and the body out.

python -m tests.benchmarks.proxy.passing_on PORT UPSTREAM
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import web


def application(upstream: str) -> web.Application:
    """Every path goes on to the same one of ``upstream``."""
    client = web.AppKey("client", aiohttp.ClientSession)

    async def pass_on(request: web.Request) -> web.Response:
        headers = {"content-type": request.headers.get("content-type", "application/json")}
        body = await request.read()
        async with request.app[client].post(f"{upstream}{request.path}", data=body, headers=headers) as reply:
            return web.Response(status=reply.status, body=await reply.read(), content_type=reply.content_type)

    async def with_client(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            app[client] = session
            yield

    app = web.Application()
    app.cleanup_ctx.append(with_client)
    app.router.add_post("/{path:.*}", pass_on)
    return app


def main() -> None:
    port, upstream = int(sys.argv[1]), sys.argv[2]
    web.run_app(
        application(upstream),
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
