"""The dashboard alone as an application, with a fake log and fake keys, and a client that is logged in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from starlette.applications import Starlette

from gate.dashboard.routes import dashboard_routes
from gate.dashboard.serving import Serving, Viewer
from gate.log.kept import DecisionReader, Label
from tests.dashboard.fake_reader import NOW, FakeReader, FakeServing

SECRET = b"0123456789abcdef0123456789abcdef"
HOST = "http://gate.test"
KEYS = {"key-admin": "ops", "key-review": "notebook", "key-support": "support-bot", "key-plain": "chat-app"}


@dataclass
class Made:
    """An application and what it was made of; ``now`` moves on when a test says so."""

    reader: DecisionReader | None = field(default_factory=FakeReader)
    serving: FakeServing = field(default_factory=FakeServing)
    trust_forwarded: bool = False
    now: float = NOW
    tried: list[str] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    keep: Callable[[Label], None] | None = None

    def __post_init__(self) -> None:
        serving: Serving = self.serving
        self.app = Starlette(
            routes=dashboard_routes(
                self.reader,
                serving,
                self._authenticate,
                secret=SECRET,
                label=self._label,
                trust_forwarded=self.trust_forwarded,
                now=lambda: self.now,
            )
        )

    def _authenticate(self, key: str) -> Viewer | None:
        self.tried.append(key)
        name = KEYS.get(key)
        return self.serving.viewers.get(name) if name else None

    def _label(self, label: Label) -> None:
        self.labels.append(label)
        if self.keep is not None:
            self.keep(label)
        elif self.reader is not None:
            self.reader.label(label)

    def client(self, host: str = HOST) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=host)

    @asynccontextmanager
    async def logged_in(self, key: str = "key-admin") -> AsyncIterator[httpx.AsyncClient]:
        async with self.client() as client:
            reply = await log_in(client, key)
            assert reply.status_code == 303, reply.text
            yield client


def token_of(page: str) -> str:
    """What the first form of a page carries."""
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found, page[:500]
    return found[1]


async def log_in(client: httpx.AsyncClient, key: str, **more: str) -> httpx.Response:
    form = await client.get("/dashboard/login")
    fields = {"token": token_of(form.text), "key": key, **more}
    return await client.post("/dashboard/login", data=fields, headers={"origin": str(client.base_url).rstrip("/")})


async def send(client: httpx.AsyncClient, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
    """A form as a browser sends it from a page of ours: with the session's token, unless ``fields`` has one."""
    if "token" not in fields:
        fields = {**fields, "token": token_of((await client.get("/dashboard/review")).text)}
    return await client.post(path, data=fields, headers={"origin": HOST, **headers})
