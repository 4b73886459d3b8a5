"""Conversations that a guardrail was shown before their answer: what an answer that comes without one is an answer to.

A proxy in front of models shows a guardrail the request, and later, in a call of its own, the answer without the
request. The two have the id of the call in common. Where one worker serves, what it was shown is held in memory; where
several do, in a folder, for the answer may reach another. There it is text at rest, readable by the server's user
alone, and gone after `KEPT` seconds or when the worker that wrote it ends: a folder in memory (tmpfs) is a good place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from gate.errors import ConfigError, RequestError

KEPT = 900.0
"""Seconds from the question: the longest a model may take to answer it."""
MOST = 64 * 2**20
"""Bytes of all that is held in a worker's memory, or in the folder: beyond that the oldest of the client that holds
most goes first, so that none pushes out another's."""
_EACH = 512
"""Bytes that holding one takes beside its own."""
_DIFFERENT = b""
"""Held where different conversations came under one id: which of them an answer is to, nobody can tell."""
_SWEEP = 60.0
"""Seconds after which a folder is looked through for what is too old."""


@dataclass(frozen=True, slots=True)
class _Held:
    at: float
    content: bytes


@dataclass(slots=True)
class _Shelf:
    """One client's, oldest first."""

    held: OrderedDict[str, _Held] = field(default_factory=OrderedDict)
    size: int = 0

    def put(self, name: str, held: _Held) -> None:
        self.held[name] = held
        self.size += len(held.content) + _EACH

    def take(self, name: str) -> _Held | None:
        held = self.held.pop(name, None)
        if held is not None:
            self.size -= len(held.content) + _EACH
        return held


class Conversations:
    """By the client that showed them and the id of the call."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: where the workers of a server share them; None where there is one. Raises `ConfigError`."""
        self.missed = False
        """Whether the last that was looked for could not be had."""
        self._folder = folder
        self._shelves: dict[str, _Shelf] = {}
        self._mine: dict[str, float] = {}
        self._swept = 0.0
        self._written = 0
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._sweep(folder)
            except OSError as error:
                raise ConfigError(f"cannot keep conversations here: {error.strerror}", where=str(folder)) from error

    async def note(self, client: str, call: str, content: bytes) -> None:
        """Hold what was shown. Raises `RequestError` (503) where it cannot be written."""
        name = _name(client, call)
        if self._folder is None:
            self._hold(client, name, content, time.monotonic())
            return
        try:
            await anyio.to_thread.run_sync(self._write, self._folder, name, content)
        except OSError as error:
            said = "the conversation cannot be kept until its answer comes; try again"
            raise RequestError(said, status=503, code="conversation_not_kept", retry_after=1) from error

    async def find(self, client: str, call: str) -> bytes | None:
        """What was shown under this id; None where nothing was, or too long ago. Raises `RequestError` (409) where
        different conversations were."""
        name = _name(client, call)
        if self._folder is None:
            self._forget(time.monotonic())
            shelf = self._shelves.get(client)
            held = None if shelf is None else shelf.held.get(name)
            found = None if held is None else held.content
        else:
            found = await anyio.to_thread.run_sync(self._read, self._folder, name)
        if found == _DIFFERENT:
            said = "different conversations came under this call id, and which of them was answered nobody can tell"
            raise RequestError(said, param="litellm_call_id", status=409, code="conversation_ambiguous")
        return found

    def close(self) -> None:
        """Leave no text behind in the folder."""
        if self._folder is not None:
            for name in self._mine:
                (self._folder / name).unlink(missing_ok=True)
            self._mine.clear()

    # --- in memory -----------------------------------------------------------------------------------------------

    def _hold(self, client: str, name: str, content: bytes, now: float) -> None:
        self._forget(now)
        shelf = self._shelves.setdefault(client, _Shelf())
        before = shelf.take(name)
        if before is not None and before.content != content:
            content = _DIFFERENT
        shelf.put(name, _Held(now, content))
        while self._size > MOST:
            self._drop(max(self._shelves, key=lambda each: self._shelves[each].size))

    @property
    def _size(self) -> int:
        return sum(shelf.size for shelf in self._shelves.values())

    def _forget(self, now: float) -> None:
        for client in [*self._shelves]:
            while (shelf := self._shelves.get(client)) and next(iter(shelf.held.values())).at < now - KEPT:
                self._drop(client)

    def _drop(self, client: str) -> None:
        """The oldest of a client's."""
        shelf = self._shelves[client]
        shelf.take(next(iter(shelf.held)))
        if not shelf.held:
            del self._shelves[client]

    # --- in a folder: blocks -------------------------------------------------------------------------------------

    def _write(self, folder: Path, name: str, content: bytes) -> None:
        with _alone(folder):
            before = self._read(folder, name)
            if before is not None and before != content:
                content = _DIFFERENT
            part = folder / f"{name}.{secrets.token_hex(8)}"
            try:
                with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                    file.write(content)
                part.replace(folder / name)  # whole or not at all
            finally:
                part.unlink(missing_ok=True)
        now = time.time()
        self._mine[name] = now
        self._written += len(content)
        if now - self._swept > _SWEEP or self._written > MOST // 4:
            self._sweep(folder)

    def _read(self, folder: Path, name: str) -> bytes | None:
        path = folder / name
        try:
            return path.read_bytes() if path.stat().st_mtime >= time.time() - KEPT else None
        except FileNotFoundError:
            return None

    def _sweep(self, folder: Path) -> None:
        now = time.time()
        self._swept, self._written = now, 0
        clients: defaultdict[str, deque[tuple[int, Path]]] = defaultdict(deque)
        sizes: defaultdict[str, int] = defaultdict(int)
        for at, length, path in sorted(_files(folder)):
            if at < now - KEPT:
                path.unlink(missing_ok=True)
            else:
                client = path.name.partition("-")[0]
                clients[client].append((length, path))
                sizes[client] += length
        while sum(sizes.values()) > MOST:
            client = max(sizes, key=lambda each: sizes[each])
            length, path = clients[client].popleft()
            sizes[client] -= length
            path.unlink(missing_ok=True)
        self._mine = {name: at for name, at in self._mine.items() if at >= now - KEPT}


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another worker has swept it away
            found = path.stat()
            yield found.st_mtime, found.st_size, path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other worker looks what is there, and writes by that, meanwhile."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _name(client: str, call: str) -> str:
    """The ids are others' words: no path is made of them. The client's part comes first."""
    return f"{_digest(client)[:16]}-{_digest(call)}"


def _digest(words: str) -> str:
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()
