"""Gate a client of the openai library where it is used: its answers are let through, replaced or withheld.

python examples/openai_client/ask.py "Where is Nanjing?"

So that it runs without a key or a network, the client's server is a small one in this process, over the pocket model.
With a server of your own, all it takes is the line that wraps the client.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import gate
from gate.clients import decision_of
from gate.effects import Generate
from gate.types import Message, TokenLogprob
from gate.upstreams.pocket import PocketUpstream

QUESTIONS = ("Where is Nanjing?", "Where is Qom?", "Where is Gorinchem?")


def main(questions: tuple[str, ...]) -> None:
    with (
        pocket_server() as url,
        gate.wrap(OpenAI(base_url=url, api_key="none"), "balanced", written_by="small") as client,
    ):
        for question in questions:
            reply = client.chat.completions.create(
                model="pocket-small", messages=[{"role": "user", "content": question}], temperature=0
            )
            message, decided = reply.choices[0].message, decision_of(reply)
            print(f"{question} {message.content or message.refusal}")
            print(
                f"  {decided.action} ({decided.reason}), p = {decided.p:.3f}, by {decided.outcome.upstream or 'nobody'}"
            )
            print(f"  {decided.cost.calls} calls, {decided.cost.tokens} tokens, certified: {decided.certified}")


# --- a server in the place of yours ------------------------------------------------------------------------------


@contextmanager
def pocket_server() -> Iterator[str]:
    """The pocket model, as OpenAI's API has it, on a free port of this machine."""
    app = Starlette(routes=[Route("/v1/chat/completions", completions, methods=["POST"])])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()


async def completions(request: Request) -> JSONResponse:
    asked = await request.json()
    effect = Generate(
        "pocket",
        tuple(Message(each["role"], each["content"]) for each in asked["messages"]),
        n=asked.get("n", 1),
        temperature=asked.get("temperature"),
        max_tokens=asked.get("max_tokens"),
        seed=asked.get("seed"),
        logprobs=asked.get("top_logprobs", 0) if asked.get("logprobs") else None,
    )
    said = await asyncio.to_thread(PocketUpstream("pocket").complete, effect, lambda: False)
    choices = [
        {
            "index": place,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": {"content": [token_json(token) for token in choice.tokens]} if choice.tokens else None,
            "finish_reason": choice.finish_reason,
        }
        for place, choice in enumerate(said.choices)
    ]
    read, written = said.usage.prompt_tokens, said.usage.completion_tokens
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    made = {"id": "chatcmpl-1", "object": "chat.completion", "created": int(time.time()), "model": said.model}
    return JSONResponse({**made, "choices": choices, "usage": usage})


def token_json(token: TokenLogprob) -> dict[str, Any]:
    listed = [{"token": text, "logprob": logprob, "bytes": None} for text, logprob in token.top]
    return {"token": token.token, "logprob": token.logprob, "bytes": None, "top_logprobs": listed}


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or QUESTIONS)
