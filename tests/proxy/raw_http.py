"""HTTP as bytes on a socket: for requests that no client would send."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

POST = b"POST /v1/x HTTP/1.1\r\nhost: a\r\n"
GET = b"GET /v1/x HTTP/1.1\r\nhost: a\r\n"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool
    """Whether the server has closed the connection after it."""
    seconds: float

    @property
    def code(self) -> Any:
        return json.loads(self.body)["error"]["code"]


def exchange(url: str, *parts: bytes, gap: float = 0.0, wait: float = 10.0) -> Reply | None:
    """What comes back for these parts, sent ``gap`` seconds apart; None where the connection ends without a reply."""
    with opened(url) as sock:
        return sent(sock, parts, gap, wait)


def opened(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def sent(sock: socket.socket, parts: Iterable[bytes], gap: float = 0.0, wait: float = 10.0) -> Reply | None:
    began = time.monotonic()
    try:
        for part in parts:
            sock.sendall(part)
            time.sleep(gap)
    except (BrokenPipeError, ConnectionResetError):
        pass  # a server need not hear us out
    head = _until(sock, b"\r\n\r\n", wait)
    if b"\r\n\r\n" not in head:
        return None
    head, _, body = head.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers["content-length"])
    while len(body) < length and (more := _received(sock, wait)):
        body += more
    closed = headers.get("connection") == "close" and _received(sock, wait) == b""
    return Reply(int(status.split()[1]), headers, body, closed, time.monotonic() - began)


def _until(sock: socket.socket, end: bytes, wait: float) -> bytes:
    got = b""
    while end not in got and (more := _received(sock, wait)):
        got += more
    return got


def _received(sock: socket.socket, wait: float) -> bytes:
    sock.settimeout(wait)
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b""
