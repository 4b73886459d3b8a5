"""The bare gateway hands on path, body and status."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.benchmarks.proxy.passing_on import application


def test_it_passes_on() -> None:
    async def echo(request: web.Request) -> web.Response:
        text = f"{request.path} {await request.text()} {request.content_type}"
        return web.Response(status=418, text=text, content_type="application/json")

    async def run() -> tuple[int, str, str]:
        upstream = web.Application()
        upstream.router.add_post("/{path:.*}", echo)
        async with TestServer(upstream) as behind:
            passing = application(str(behind.make_url("")).rstrip("/"))
            async with TestClient(TestServer(passing)) as client:
                reply = await client.post("/v1/chat/completions", json={"a": 1})
                return reply.status, await reply.text(), reply.content_type

    assert asyncio.run(run()) == (418, '/v1/chat/completions {"a": 1} application/json', "application/json")
