"""Whoever goes away stops the work: a closed stream, a cancelled question, a deadline that has passed."""

from __future__ import annotations

import asyncio
import time

import openai
import pytest

from gate.drivers import AsyncDriver, Recording, World
from gate.effects import generate
from gate.errors import UpstreamTimeout
from tests.served.asking import LONG, reply_to, served
from tests.served.server import Server

GENERATED = "vllm:generation_tokens_total"
WHOLE = LONG.n * (LONG.max_tokens or 0)
"""Tokens, if nobody called it off."""


def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key="unused", max_retries=0)


def test_a_stream_says_what_a_whole_reply_says(small: Server) -> None:
    ask = {"model": small.name, "messages": [{"role": "user", "content": "Where is Lagos?"}], "temperature": 0}
    with client(small) as openai_client:
        whole = openai_client.chat.completions.create(**ask).choices[0].message.content
        chunks = list(openai_client.chat.completions.create(**ask, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_closed_stream_stops_generation(small: Server) -> None:
    before = small.metric(GENERATED)
    with client(small) as openai_client:
        stream = openai_client.chat.completions.create(
            model=small.name,
            messages=[{"role": "user", "content": "Where is Lagos?"}],
            stream=True,
            n=LONG.n,
            max_tokens=LONG.max_tokens,
            extra_body=dict(LONG.extra),
        )
        for _ in zip(range(50), stream, strict=False):
            pass
        stream.close()
    assert small.idle_within(3)
    assert 0 < small.metric(GENERATED) - before < WHOLE / 2


def test_a_cancelled_question_stops_generation(small: Server) -> None:
    before = small.metric(GENERATED)

    async def main() -> None:
        driver = AsyncDriver(World({"it": served(small)}))
        try:
            async with asyncio.TaskGroup() as group:
                asked = group.create_task(driver.run(generate(LONG), Recording()))
                await asyncio.sleep(1)
                asked.cancel()
            assert asked.cancelled()
        finally:
            await driver.aclose()

    asyncio.run(main())
    assert small.idle_within(3)
    assert small.metric(GENERATED) - before < WHOLE / 2


@pytest.mark.parametrize("threaded", [True, False], ids=["threaded", "async"])
def test_a_deadline_stops_generation(small: Server, threaded: bool) -> None:
    before, began = small.metric(GENERATED), time.monotonic()
    with pytest.raises(UpstreamTimeout):
        reply_to(served(small), LONG, threaded=threaded, seconds=0.5)
    assert time.monotonic() - began < 2
    assert small.idle_within(3)
    assert small.metric(GENERATED) - before < WHOLE / 2
