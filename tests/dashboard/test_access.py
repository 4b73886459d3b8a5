"""No page without a session, none without the role, no form from elsewhere."""

from __future__ import annotations

from dataclasses import replace

import anyio
import httpx
import pytest

from gate.dashboard.sessions import LIFETIME
from gate.errors import GateError
from gate.log.kept import Kept, Label, Sought
from tests.dashboard.app import HOST, Made, send, token_of
from tests.dashboard.fake_reader import NOW, FakeReader, a_decision, busy

PAGES = (
    "", "/", "/decisions", "/decisions/rows", "/decisions/d0", "/quality", "/spend", "/review", "/review/d0",
    "/nothing",
)  # fmt: skip
REVIEWERS_OWN = ("/decisions", "/decisions/rows", "/review")


@pytest.mark.parametrize("page", PAGES)
def test_without_a_session_every_page_leads_to_the_login_and_tells_nothing(page: str) -> None:
    async def main() -> None:
        made = Made(reader=busy(30))
        async with made.client() as client:
            for cookies in ({}, {"gate_session": "forged.cookie"}):
                client.cookies.update(cookies)
                reply = await client.get(f"/dashboard{page}?policy=strict")
                assert reply.status_code == 303
                assert reply.headers["location"].startswith("/dashboard/login?next=%2Fdashboard")
                assert reply.content == b""
            login = await client.get("/dashboard/login")
            assert not any(live.name in login.text for live in made.serving.live)

    anyio.run(main)


@pytest.mark.parametrize("path", ["/review/d0", "/logout", "/nothing"])
def test_without_a_session_no_form_is_taken(path: str) -> None:
    async def main() -> None:
        made = Made(reader=busy(3))
        async with made.client() as client:
            reply = await client.post(f"/dashboard{path}", data={"verdict": "right"}, headers={"origin": HOST})
            assert (reply.status_code, reply.headers["location"]) == (303, "/dashboard/login")
        assert made.labels == []

    anyio.run(main)


def test_a_session_ends_after_its_time_and_when_the_key_is_gone() -> None:
    async def main() -> None:
        made = Made()
        async with made.logged_in() as client:
            assert (await client.get("/dashboard")).status_code == 200
            kept = made.serving.viewers.pop("ops")
            assert (await client.get("/dashboard")).status_code == 303
            made.serving.viewers["ops"] = replace(kept, mark="another key")
            assert (await client.get("/dashboard")).status_code == 303
            made.serving.viewers["ops"] = kept
            assert (await client.get("/dashboard")).status_code == 200
            made.now += LIFETIME + 1
            assert (await client.get("/dashboard")).status_code == 303

    anyio.run(main)


@pytest.mark.parametrize("page", PAGES)
def test_a_reviewer_sees_the_queue_and_its_own_decisions_alone(page: str) -> None:
    async def main() -> None:
        reader = FakeReader()
        reader.add(a_decision("d0", key="chat-app", policy="secret-policy"))
        async with Made(reader=reader).logged_in("key-review") as client:
            reply = await client.get(f"/dashboard{page}")
            expected = 200 if page in REVIEWERS_OWN else 303 if page in ("", "/") else 403
            # of another key's decision not even that it is there
            expected = 404 if page in ("/decisions/d0", "/review/d0", "/nothing") else expected
            assert reply.status_code == expected
            assert "secret-policy" not in reply.text
            assert "chat-app" not in reply.text
            assert '"/dashboard/spend"' not in reply.text, "no link to what it may not see"

    anyio.run(main)


def test_a_key_that_lost_its_role_is_told_so() -> None:
    async def main() -> None:
        made = Made()
        async with made.logged_in() as client:
            made.serving.viewers["ops"] = made.serving.viewers["chat-app"]
            reply = await client.get("/dashboard")
            assert reply.status_code == 403
            assert "balanced" not in reply.text

    anyio.run(main)


@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        ({"origin": "http://evil.test"}, {}, 403),
        ({"origin": "null"}, {}, 403),
        ({"origin": ""}, {}, 403),
        ({}, {"token": ""}, 403),
        ({}, {"token": "forged"}, 403),
        ({"content-type": "application/json"}, {}, 415),
        ({}, {}, 303),
    ],
)
def test_a_form_needs_our_origin_and_this_sessions_token(
    headers: dict[str, str], fields: dict[str, str], status: int
) -> None:
    async def main() -> None:
        reader = FakeReader()
        reader.add(a_decision())
        made = Made(reader=reader)
        async with made.logged_in() as client:
            reply = await send(client, "/dashboard/review/d0", {"verdict": "wrong", **fields}, **headers)
            assert reply.status_code == status, reply.text
        assert len(made.labels) == (status == 303)

    anyio.run(main)


def test_the_token_of_another_session_is_refused() -> None:
    async def main() -> None:
        reader = FakeReader()
        reader.add(a_decision())
        made = Made(reader=reader)
        async with made.logged_in() as one, made.logged_in() as other:
            theirs = token_of((await other.get("/dashboard/review")).text)
            reply = await send(one, "/dashboard/review/d0", {"verdict": "wrong", "token": theirs})
            assert reply.status_code == 403
        assert made.labels == []

    anyio.run(main)


def test_a_log_that_cannot_be_used_is_said_without_its_details() -> None:
    class Broken(FakeReader):
        def recent(self, sought: Sought, limit: int = 50) -> list[Kept]:
            raise GateError("postgresql://user:secret@db is away")

    def refused(label: Label) -> None:
        raise GateError("disk full at secret-place")

    async def main() -> None:
        reader = Broken()
        reader.add(a_decision())
        async with Made(reader=reader, keep=refused).logged_in() as client:
            replies: list[httpx.Response] = [
                await client.get("/dashboard/decisions"),
                await send(client, "/dashboard/review/d0", {"verdict": "right"}),
            ]
            for reply in replies:
                assert reply.status_code == 503
                assert "cannot be used just now" in reply.text
                assert "secret" not in reply.text

    anyio.run(main)


def test_the_fake_clock_is_in_the_time_of_the_data() -> None:
    assert Made().now == NOW
