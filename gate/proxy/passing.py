"""``POST /v1/completions`` and ``/v1/embeddings``: passed through to an upstream, and nothing judged.

Only the body goes on, untouched but for the model's name where it is one of gate's own: no header of the client's is
forwarded, the upstream's key comes from the policy alone, and of the reply's headers only a few come back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal

import aiohttp
import anyio
import httpx
from httpx_aiohttp import AiohttpTransport
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gate.drivers import World
from gate.drivers.retrying import http_error
from gate.effects import Embed, Generate
from gate.errors import GateError, RequestError, UpstreamError
from gate.http_wire import BROKEN, masked, parsed, refusal
from gate.ports import HttpRequest, is_local
from gate.proxy.json_wire import dumps, loads, sse
from gate.proxy.request_fields import refuse_addresses
from gate.proxy.wire_errors import WireError, wire_error
from gate.types import Message, Usage
from gate.upstreams.openai_wire import text_of, usage_of

Path = Literal["completions", "embeddings"]
MAX_REPLY = 64 * 2**20
"""Bytes of a reply that is not streamed; more is refused rather than held in memory."""
_CONNECTIONS = 1024
_CONNECT = 10.0
_TAIL = 2**14
"""Bytes of a stream's end, where its usage stands."""
_SAID = 2**16
_SHOWN = 32
_ENDINGS = ("/chat/completions", "/completions", "/embeddings")
_COMING_BACK = frozenset({"content-type", "retry-after"})
_RATE_LIMITS = "x-ratelimit-"
_OWN_FAULT = frozenset({401, 402, 403, 407})
"""Statuses that speak of gate's key, not of the client's."""
_UNCOUNTED = Usage()
_Told = Callable[[int, Usage, int], None]
"""Takes a status, the usage as the upstream counted, and the tokens of the reply, reckoned."""
_BYTES_A_TOKEN = 4
_EVENT, _DONE = b"data:", b"[DONE]"
_FAILURES = (httpx.HTTPError, httpx.StreamError, aiohttp.ClientError)


@dataclass(frozen=True, slots=True)
class Target:
    """A server that requests can be passed to, as a policy has it."""

    name: str
    base_url: str
    model: str
    headers: Mapping[str, str] = field(repr=False)
    """What it is sent, the key among them."""
    embeds: bool = False
    timeout: float = 30.0
    """Seconds without a byte."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of a request that was passed through, once its reply is over."""

    upstream: str
    model: str
    """The name that was asked for."""
    status: int
    usage: Usage
    counted: bool = True
    """Whether the upstream counted it. Else it is reckoned: of the request a token for four of its bytes, of the reply
    as many for its text, or one for each event where it streamed."""


def targets_of(world: World) -> tuple[Target, ...]:
    """The servers behind a policy's models, upstreams first. What runs in this process is none."""
    asked = Generate("", (Message("user", "."),))
    models = (each for each in world.upstreams.values() if not is_local(each))
    embedders = (each for each in world.embedders.values() if not is_local(each))
    made = (
        *(_target(world, each.name, each.encode(asked)) for each in models),
        *(_target(world, each.name, each.encode(Embed("", (".",))), embeds=True) for each in embedders),
    )
    return tuple(target for target in made if target.base_url)


def _target(world: World, name: str, sent: HttpRequest, *, embeds: bool = False) -> Target:
    """Told by what a request to it looks like, so that any dialect's options may be."""
    base = next((sent.url.removesuffix(end) for end in _ENDINGS if sent.url.endswith(end)), "")
    return Target(name, base, str(sent.body.get("model", "")), sent.headers, embeds, world.timeouts.get(name, 30.0))


class PassThrough:
    """One pool of connections; one an event loop. Close it with ``aclose``."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def forward(
        self,
        path: Path,
        request: Request,
        body: bytes,
        targets: Sequence[Target],
        *,
        ours: Collection[str],
        allowed: Collection[str] | None = None,
        over: Callable[[Passed], None] | None = None,
    ) -> Response:
        """The upstream's response, streamed where it streams; its errors in OpenAI's shape, with its status.

        ``ours``: the names under which the policy itself is asked. ``allowed``: those the client's key may use; None =
        any. ``over`` is told once the reply is there, or, where it streams, was sent. When the client goes away, so
        does the upstream's connection. Raises `RequestError` for what cannot be passed on, `UpstreamError` where no
        response came, and `ClientDisconnect`.
        """
        data, model = _read(body)
        if allowed is not None and model not in allowed:
            raise RequestError("there is no such model for this key", param="model", status=404)
        target, named = _chosen(path, model, targets, ours)
        prompt = tokens_in(body)
        if named != model or "gate" in data:
            body = dumps({**{key: value for key, value in data.items() if key != "gate"}, "model": named})
        asked = self._open().build_request(
            "POST",
            f"{target.base_url}/{path}",
            content=body,
            headers={**target.headers, "accept": "*/*", "accept-encoding": "identity"},
            timeout=httpx.Timeout(target.timeout, connect=_CONNECT),
        )

        def told(status: int, usage: Usage, written: int) -> None:
            counted = usage != _UNCOUNTED or status >= 300
            if over is not None:
                known = usage if counted else Usage(prompt, written)
                over(Passed(target.name, model, status, known, counted))

        return await self._unless_gone(request, target, asked, told)

    async def _unless_gone(self, request: Request, target: Target, asked: httpx.Request, told: _Told) -> Response:
        made: Response | None = None
        failed: GateError | None = None

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            try:
                made = await self._response(target, asked, told)
            except GateError as error:
                failed = error
            group.cancel_scope.cancel()
        if failed is not None:
            raise failed
        if made is None:
            raise ClientDisconnect
        return made

    async def _response(self, target: Target, asked: httpx.Request, told: _Told) -> Response:
        client = self._open()
        try:
            reply = await client.send(asked, stream=True)
        except _FAILURES as error:
            raise _failure(target, error) from error
        streamed = reply.headers.get("content-type", "").startswith("text/event-stream")
        if streamed and reply.status_code < 300:
            return _Passing(target, reply, told)
        try:
            content = await _content(target, reply, _SAID if reply.status_code >= 300 else MAX_REPLY)
        except _FAILURES as error:
            raise _failure(target, error) from error
        finally:
            with anyio.CancelScope(shield=True):
                await reply.aclose()
        if reply.status_code >= 300:
            refused = _refused(target, reply, content)
            told(refused.status, _UNCOUNTED, 0)
            return Response(dumps(refused.body), refused.status, dict(refused.headers), "application/json")
        data = parsed(content)
        if isinstance(data, dict):
            told(reply.status_code, usage_of(data), _written(data))
        else:
            told(reply.status_code, _UNCOUNTED, tokens_in(content))
        return Response(content, reply.status_code, _headers(reply))

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:  # here, because it takes hold of the running loop
            self._client = httpx.AsyncClient(
                transport=AiohttpTransport(client=_session),
                trust_env=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            )
        return self._client


def _session() -> aiohttp.ClientSession:
    """Keeps no cookies: what an upstream says to one client is none of the next one's."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS), cookie_jar=aiohttp.DummyCookieJar()
    )


class _Passing(StreamingResponse):
    """An upstream's events, byte for byte as they come; its connection is closed however this ends."""

    def __init__(self, target: Target, reply: httpx.Response, told: _Told) -> None:
        super().__init__(self._bytes(), reply.status_code, {**_headers(reply), "cache-control": "no-cache"})
        self._target = target
        self._reply = reply
        self._told = told
        self._tail = b""
        self._line = b""
        self._events = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._reply.aclose()
            self._told(self.status_code, _usage_in(self._tail), self._events)

    async def _bytes(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._reply.aiter_raw():
                self._tail = (self._tail + chunk)[-_TAIL:]
                self._count(chunk)
                yield chunk
        except _FAILURES as error:
            yield b"\n\n" + sse(wire_error(_failure(self._target, error)).body)

    def _count(self, chunk: bytes) -> None:
        """Of the line that is not whole yet only its start is kept: it tells what the line is."""
        *lines, begun = (self._line + chunk).split(b"\n")
        self._line = begun[:_SHOWN]
        self._events += sum(line.startswith(_EVENT) and line[5:].strip() != _DONE for line in lines)


def target_of(path: Path, body: bytes, targets: Sequence[Target], ours: Collection[str]) -> Target:
    """Whom a body would be passed to. Raises `RequestError` where it cannot be."""
    return _chosen(path, _read(body)[1], targets, ours)[0]


def tokens_in(text: bytes) -> int:
    """As far as can be told by its length."""
    return -(-len(text) // _BYTES_A_TOKEN)


def _read(body: bytes) -> tuple[dict[str, Any], str]:
    """A body and the model that it names."""
    data = loads(body)
    refuse_addresses(data)
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("model must be text", param="model")
    return data, model


def _written(data: Mapping[str, Any]) -> int:
    """Tokens of a completion's texts, reckoned; embeddings have none."""
    choices = data.get("choices")
    listed = choices if isinstance(choices, list) else ()
    texts = (text_of(choice.get("text")) for choice in listed if isinstance(choice, dict))
    return sum(tokens_in(text.encode("utf-8", "replace")) for text in texts)


def _usage_in(tail: bytes) -> Usage:
    for line in reversed(tail.split(b"\n")):
        if line.startswith(b"data:") and b'"usage"' in line:
            data = parsed(line.removeprefix(b"data:"))
            if isinstance(data, dict) and data.get("usage"):
                return usage_of(data)
    return _UNCOUNTED


def _chosen(path: Path, model: str, targets: Sequence[Target], ours: Collection[str]) -> tuple[Target, str]:
    """Whom to ask, and under which name: that of its model, unless the client named another."""
    fit = [target for target in targets if path == "embeddings" or not target.embeds]
    if path == "embeddings":
        fit.sort(key=lambda target: not target.embeds)
    if not fit:
        said = f"the policy has no server that /v1/{path} could be passed to: its models run in this process"
        raise RequestError(said, param="model", status=404, code="nothing_to_pass_to")
    if model in ours:
        return fit[0], fit[0].model
    known = [target for target in fit if target.model == model] or [target for target in fit if target.name == model]
    return (known[0], known[0].model) if known else (fit[0], model)


async def _content(target: Target, reply: httpx.Response, most: int) -> bytes:
    content = bytearray()
    async for chunk in reply.aiter_raw():
        content += chunk
        if len(content) > most:
            if reply.status_code >= 300:  # what is said of an error is short, or is no error of an API
                break
            raise UpstreamError(target.name, f"sent more than {most // 2**20} MiB")
    return bytes(content)


def _refused(target: Target, reply: httpx.Response, content: bytes) -> WireError:
    """The upstream's error with its status, unless that would speak of the client's key."""
    status = reply.status_code
    key = target.headers.get("authorization", "").removeprefix("Bearer ") or None
    data: Any = parsed(content)
    if status < 400:
        return wire_error(UpstreamError(target.name, f"answered with status {status}, not 200"))
    error = refusal(target.name, status, reply.headers, content, data, key, "base_url")
    made = wire_error(error)
    if status in _OWN_FAULT:
        return made
    code = _word(data) or made.code
    return WireError(status, masked(made.message, key), made.type, code, made.param, made.headers)


def _word(data: Any) -> str | None:
    """The upstream's own code of an error."""
    error = data.get("error") if data is not BROKEN and isinstance(data, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and code.isascii() and len(code) <= 64 else None


def _headers(reply: httpx.Response) -> dict[str, str]:
    return {
        name: value for name, value in reply.headers.items() if name in _COMING_BACK or name.startswith(_RATE_LIMITS)
    }


def _failure(target: Target, error: Exception) -> UpstreamError:
    """Told by the error of the library underneath: the transport takes some of its kinds for others."""
    return http_error(target.name, error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error)
