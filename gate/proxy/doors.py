"""The gated doors, all alike: three dialects in and out, one code path between.

A door reads a body as a `ChatRequest`, and writes what was decided, whole or as events, or an error. ``DOORS`` is
what the application makes its routes of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gate.proxy.chat_replies import ChatEvents, completion
from gate.proxy.chat_requests import parse_chat_request
from gate.proxy.json_wire import KEEP_ALIVE
from gate.proxy.messages_replies import PING, MessageEvents, error_body, message
from gate.proxy.messages_requests import parse_messages_request
from gate.proxy.request_fields import ChatRequest
from gate.proxy.responses_replies import ResponseEvents, response
from gate.proxy.responses_requests import parse_responses_request
from gate.proxy.spoken import RefusalIn
from gate.proxy.verdicts import Decided
from gate.proxy.wire_errors import WireError


class Events(Protocol):
    """Writes one stream of server-sent events: `begin`, any number of `text`, and `end` or `fail`.

    Where the verdict is there before the first word, `whole` is all of it.
    """

    def begin(self) -> bytes:
        """What opens the stream, once."""
        ...

    def text(self, piece: str, index: int = 0) -> bytes:
        """So much more of an answer that has no verdict yet; ``index`` tells which, where several were asked for."""
        ...

    def end(
        self, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal", certificate: str = "none"
    ) -> Iterator[bytes]:
        """What was not sent yet, the verdict, and the close.

        What was sent stands where it is how the outcome's text begins: then only the rest of that follows. Else, the
        outcome being a refusal, a question asked back, or an answer written anew, what was sent is withdrawn:
        ``gate.retracted`` is true, and what stands in its place, whatever it is, comes as follows, so that it cannot be
        taken for a continuation. A client drops all text it had, and shows that.

        * chat: in ``delta.refusal``; the ``finish_reason`` is ``content_filter``.
        * responses: in a part of its own, of the type ``refusal``; the part before it is empty in the finished message.
        * messages: in a text block of its own; the ``stop_reason`` is ``refusal``.

        The ``gate`` object is in the last event that may hold one, as `gate.proxy.verdicts` says: of chat the last
        chunk, of responses ``response.completed`` or ``.incomplete``, of messages ``message_delta``.
        """
        ...

    def whole(
        self, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal", certificate: str | None = None
    ) -> Iterator[bytes]:
        """`begin` and `end` of what is decided. ``certificate``: None where the headers tell the verdict already."""
        ...

    def fail(self, error: WireError) -> bytes:
        """An error after the stream has begun, and its close. It withdraws what was sent: ``gate.retracted`` is true
        where that was anything."""
        ...


class Reply(Protocol):
    def __call__(
        self, request: ChatRequest, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal"
    ) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Door:
    """One dialect."""

    name: str
    """As the decision log has it."""
    path: str
    parse: Callable[[bytes], ChatRequest]
    """Raises `RequestError`, and nothing else."""
    reply: Reply
    """The JSON object of what was decided; at least one answer."""
    writer: Callable[[ChatRequest, str], Events]
    """Of one stream; the id is the trace's, or one's own where the stream begins before there is a trace."""
    error: Callable[[WireError], dict[str, Any]]
    keep_alive: bytes
    """What is sent while there is nothing to say; clients skip it, and it opens no stream."""

    def events(
        self, request: ChatRequest, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal"
    ) -> Iterator[bytes]:
        """The whole stream of what is already decided."""
        return self.writer(request, decided[0][1].id).whole(decided, refusal_in)


def _openai(error: WireError) -> dict[str, Any]:
    return error.body


CHAT = Door("chat", "/v1/chat/completions", parse_chat_request, completion, ChatEvents, _openai, KEEP_ALIVE)
RESPONSES = Door("responses", "/v1/responses", parse_responses_request, response, ResponseEvents, _openai, KEEP_ALIVE)
MESSAGES = Door("messages", "/v1/messages", parse_messages_request, message, MessageEvents, error_body, PING)
DOORS = (CHAT, RESPONSES, MESSAGES)
