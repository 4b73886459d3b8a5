"""The OpenAI chat dialect as a stream: chunks of one answer are put together to the reply there would be without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gate.effects import STOPPED_EARLY, Generate
from gate.errors import UpstreamError
from gate.http_wire import BROKEN, BROKEN_OFF, parsed
from gate.live_ports import Piece
from gate.ports import HttpRequest
from gate.types import Generations, TokenLogprob
from gate.upstreams.openai_wire import content_text, refused, text_of, token_logprobs
from gate.upstreams.sse import MOST_BYTES, Event, EventReader, TooLong

_FIELDS = (b"data", b"event", b"id", b"retry", b":")
"""What the first line of a stream begins with."""
_MARK = b"\xef\xbb\xbf"


def streamed(request: HttpRequest, effect: Generate, **options: bool) -> HttpRequest:
    """The same request for a streamed reply. ``options`` stand beside ``include_usage`` under ``stream_options``."""
    body = {**request.body, "stream": True}
    if effect.counted:
        body["stream_options"] = {"include_usage": True, **options}
    return dataclasses.replace(request, headers={**request.headers, "accept": "text/event-stream"}, body=body)


class ChatStream:
    """Fits `LiveReply`. A body that is no stream, whatever its type is called, is decoded as a whole."""

    def __init__(
        self,
        upstream: str,
        status: int,
        headers: Mapping[str, str],
        key: str | None,
        decode: Callable[[int, Mapping[str, str], bytes], Generations],
        read: Callable[[Mapping[str, Any]], Generations],
    ) -> None:
        """``decode`` reads a whole body, ``read`` the JSON object of a reply of success."""
        self._upstream, self._status, self._headers, self._key = upstream, status, headers, key
        self._decode, self._read = decode, read
        self._events = EventReader()
        self._chunks = Chunks()
        self._told = 0
        """Tokens."""
        self._body = bytearray()
        """What came before it was clear that it is a stream; all of it where it is none."""
        self._streams = None if 200 <= status < 300 else False
        self._over = False

    @property
    def over(self) -> bool:
        return self._over

    @property
    def whole(self) -> bool:
        return self._over or self._chunks.finished

    def feed(self, data: bytes) -> Iterator[Piece]:
        ended = not data
        if not self._streams:
            data = self._opened(data)
        try:
            for event in self._events.feed(data):
                yield from self._take(event)
            if ended and self._streams and (rest := self._events.rest()) is not None:
                yield from self._take(rest, last=True)
        except TooLong as error:
            raise UpstreamError(self._upstream, f"sent an event of more than {MOST_BYTES // 2**20} MiB") from error

    def reply(self) -> Generations:
        if not self._streams and not (self._streams is None and self._body.strip()):
            return self._decode(self._status, self._headers, bytes(self._body))
        if not self.whole:
            raise UpstreamError(self._upstream, BROKEN_OFF, retryable=True)
        if not self._chunks.any:
            raise UpstreamError(self._upstream, "answered without choices", status=self._status, retryable=True)
        return self._read(self._chunks.reply())

    def so_far(self) -> Generations:
        return self._read(self._chunks.reply(stopped=True))

    def _opened(self, data: bytes) -> bytes:
        """The bytes of a stream, once it is clear that it is one."""
        self._body += data
        if self._streams is None:
            begun = bytes(self._body[:64]).removeprefix(_MARK).lstrip()
            if begun.startswith(_FIELDS):
                self._streams = True
                data, self._body = bytes(self._body), bytearray()
                return data
            if begun and not any(field.startswith(begun) for field in (*_FIELDS, _MARK)):
                self._streams = False
        return b""

    def _take(self, event: Event, *, last: bool = False) -> Iterator[Piece]:
        if self._over or not event.data.strip():
            return
        if event.done:
            self._over = True
            return
        chunk = parsed(event.data)
        if chunk is BROKEN:
            if last:  # it was cut
                return
            raise UpstreamError(self._upstream, "answered with broken JSON", status=self._status, retryable=True)
        if chunk is None:
            return
        if not isinstance(chunk, dict):
            raise UpstreamError(self._upstream, "answered JSON that is no object", status=self._status)
        if event.name == "error" or chunk.get("error"):
            status = _status_in(chunk) or self._status
            raise refused(self._upstream, status, self._headers, event.data, chunk, self._key)
        finished = self._chunks.finished
        text, logprobs = self._chunks.add(chunk)
        tokens = () if finished else self._tokens(logprobs)
        if text or tokens:
            yield Piece(text, tokens)

    def _tokens(self, logprobs: list[Any]) -> tuple[TokenLogprob, ...]:
        """Of the last ones only those are told that the reply keeps: some servers list the end of the answer."""
        tokens = token_logprobs({"content": logprobs}) or ()
        if tokens and self._chunks.finished:
            (draft,) = self._read(self._chunks.reply()).choices
            tokens = (draft.tokens or ())[self._told :]
        self._told += len(tokens)
        return tokens


def _status_in(data: Mapping[str, Any]) -> int | None:
    """The HTTP status that an error in a stream would have had, where it names one."""
    error = data.get("error")
    code = error.get("code") if isinstance(error, dict) else data.get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else None


class Chunks:
    """Chunks of the first choice that is named, put together to the object of a reply. Whatever else comes is left."""

    def __init__(self) -> None:
        self.any = False
        """Whether there was a chunk of the answer."""
        self._index = 0
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls = _Calls()
        self._logprobs: list[Any] | None = None
        self._gaps = False
        """Whether some text came without log-probabilities."""
        self._grown = 0
        self._finish: str | None = None
        self._stop_reason: Any = None
        self._model = ""
        self._usage: Mapping[str, Any] = {}
        self._transferred: Any = None

    @property
    def finished(self) -> bool:
        return self._finish is not None

    def add(self, chunk: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The text and the log-probabilities that this chunk adds."""
        self._model = self._model or text_of(chunk.get("model"))
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        if isinstance(transferred := chunk.get("kv_transfer_params"), dict):
            self._transferred = transferred
        choices = chunk.get("choices")
        added = [self._add(choice) for choice in choices if self._ours(choice)] if isinstance(choices, list) else []
        return "".join(text for text, _ in added), [each for _, listed in added for each in listed]

    def _ours(self, choice: Any) -> bool:
        if not isinstance(choice, dict):
            return False
        index = index if isinstance(index := choice.get("index"), int) else 0
        if not self.any:
            self.any, self._index = True, index
        return bool(index == self._index)

    def _add(self, choice: Mapping[str, Any]) -> tuple[str, list[Any]]:
        delta = choice.get("delta")
        if not isinstance(delta, dict):  # some send the whole message in the place of a part
            delta = message if isinstance(message := choice.get("message"), dict) else {}
        text, refusal = content_text(delta.get("content")), text_of(delta.get("refusal"))
        called = self._calls.add(delta.get("tool_calls"))
        listed = logprobs.get("content") if isinstance(logprobs := choice.get("logprobs"), dict) else None
        if isinstance(listed, list):
            self._logprobs = self._logprobs or []
            self._logprobs += listed
        elif text:
            self._gaps = True
        self._texts.append(text)
        self._refusals.append(refusal)
        self._grown += bool(text or refusal or called)
        self._finish = text_of(choice.get("finish_reason")) or self._finish
        self._stop_reason = choice.get("stop_reason", self._stop_reason)
        return text, listed if isinstance(listed, list) else []

    def reply(self, *, stopped: bool = False) -> dict[str, Any]:
        """The JSON object of the reply, as far as it has come. ``stopped``: no more of it will."""
        message = {
            "role": "assistant",
            "content": "".join(self._texts),
            "refusal": "".join(self._refusals) or None,
            "tool_calls": self._calls.listed(),
        }
        listed = None if self._gaps else self._logprobs  # half a sequence would look too sure
        choice = {
            "index": self._index,
            "message": message,
            "finish_reason": self._finish or (STOPPED_EARLY if stopped else None),
            "logprobs": None if listed is None else {"content": listed},
            "stop_reason": self._stop_reason,
        }
        made = {"model": self._model, "choices": [choice], "usage": self._counted(stopped=stopped)}
        return made if self._transferred is None else {**made, "kv_transfer_params": self._transferred}

    def _counted(self, *, stopped: bool) -> dict[str, Any]:
        """The usage that was told last, with the tokens of the answer as they came where the server told of none."""
        usage, told = dict(self._usage), self._usage.get("completion_tokens")
        came = max(len(self._logprobs or ()), self._grown)
        if not isinstance(told, int) or told <= 0 or (stopped and told < came):
            usage["completion_tokens"] = came
        return usage


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class _Calls:
    """Tool calls under way. Servers tell them apart by index, by id, or not at all."""

    def __init__(self) -> None:
        self._made: list[_Call] = []
        self._at: dict[Any, int] = {}
        """Where the call of an index stands."""

    def add(self, deltas: Any) -> bool:
        """Whether anything was added."""
        parts = [delta for delta in deltas if isinstance(delta, dict)] if isinstance(deltas, list) else []
        for delta in parts:
            function = delta["function"] if isinstance(delta.get("function"), dict) else {}
            call = self._call(delta.get("index"), text_of(delta.get("id")), text_of(function.get("name")))
            call.arguments.append(text_of(function.get("arguments")))
        return bool(parts)

    def _call(self, index: Any, named: str, name: str) -> _Call:
        """The call that a part belongs to: a new one where its index is new, or where its id is another's."""
        index = index if isinstance(index, int) else None
        place = self._at.get(index)
        if place is None or (named and self._made[place].id not in ("", named)):
            place = self._at[index] = len(self._made)
            self._made.append(_Call())
        call = self._made[place]
        call.id, call.name = call.id or named, call.name or name
        return call

    def listed(self) -> list[dict[str, Any]]:
        return [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.arguments)}}
            for call in self._made
        ]
