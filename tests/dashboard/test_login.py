"""Logging in and out."""

from __future__ import annotations

import anyio
import pytest

from tests.dashboard.app import HOST, Made, log_in, send, token_of


def test_a_key_opens_a_session_of_its_own() -> None:
    async def main() -> None:
        made = Made()
        async with made.client() as client:
            reply = await log_in(client, "key-admin", next="/dashboard/spend?days=14")
            assert (reply.status_code, reply.headers["location"]) == (303, "/dashboard/spend?days=14")
            cookie = reply.headers.get_list("set-cookie")[0]
            assert cookie.startswith("gate_session=")
            for part in ("HttpOnly", "SameSite=strict", "Path=/dashboard", "Max-Age=28800"):
                assert part in cookie
            assert "Secure" not in cookie
            assert "key-admin" not in cookie
            assert (await client.get("/dashboard")).status_code == 200

    anyio.run(main)


@pytest.mark.parametrize(
    ("host", "headers", "trusted", "secure"),
    [
        ("https://gate.test", {}, False, True),
        ("http://gate.test", {"x-forwarded-proto": "https"}, False, False),
        ("http://gate.test", {"x-forwarded-proto": "https"}, True, True),
    ],
)
def test_over_https_the_cookies_are_of_https_alone(
    host: str, headers: dict[str, str], trusted: bool, secure: bool
) -> None:
    async def main() -> None:
        async with Made(trust_forwarded=trusted).client(host) as client:
            client.headers.update(headers)
            form = await client.get("/dashboard/login")
            assert ("Secure" in form.headers["set-cookie"]) == secure
            fields = {"token": token_of(form.text), "key": "key-admin"}
            client.cookies.set("gate_login", form.headers["set-cookie"].split("=")[1].split(";")[0], "gate.test")
            reply = await client.post("/dashboard/login", data=fields, headers={"origin": host})
            assert reply.status_code == 303
            assert ("Secure" in reply.headers.get_list("set-cookie")[0]) == secure

    anyio.run(main)


@pytest.mark.parametrize("key", ["key-wrong", "key-plain", "", " "])
def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(key: str) -> None:
    async def main() -> None:
        async with Made().client() as client:
            reply = await log_in(client, key)
            assert reply.status_code == 403
            assert "This key does not open the dashboard." in reply.text
            assert "gate_session" not in str(reply.headers)
            assert key.strip() == "" or key not in reply.text

    anyio.run(main)


def test_guessing_is_slowed_down_and_the_right_key_does_not_help() -> None:
    async def main() -> None:
        made = Made()
        async with made.client() as client:
            for _ in range(10):
                assert (await log_in(client, "key-guess")).status_code == 403
            reply = await log_in(client, "key-admin")
            assert reply.status_code == 429
            assert reply.headers["retry-after"] == "300"
            assert "5 minutes" in reply.text
            assert made.tried == ["key-guess"] * 10, "the key was not even looked at"
            made.now += 301
            assert (await log_in(client, "key-admin")).status_code == 303

    anyio.run(main)


def test_a_login_form_from_elsewhere_is_refused() -> None:
    async def main() -> None:
        made = Made()
        async with made.client() as client, made.client() as other:
            form = await client.get("/dashboard/login")
            fields = {"token": token_of(form.text), "key": "key-admin"}
            evil = await client.post("/dashboard/login", data=fields, headers={"origin": "http://evil.test"})
            none = await client.post("/dashboard/login", data=fields)
            # the token of one browser does not log in another
            lured = await other.post("/dashboard/login", data=fields, headers={"origin": HOST})
            forged = await client.post("/dashboard/login", data=fields | {"token": "x"}, headers={"origin": HOST})
            assert [reply.status_code for reply in (evil, none, lured, forged)] == [403, 403, 403, 403]
        assert made.tried == []

    anyio.run(main)


@pytest.mark.parametrize("back", ["https://evil.test", "//evil.test", "/v1/models", "/dashboard/../v1", "javascript:x"])
def test_nobody_is_sent_elsewhere(back: str) -> None:
    async def main() -> None:
        async with Made().client() as client:
            form = await client.get("/dashboard/login", params={"next": back})
            assert 'name="next" value="/dashboard"' in form.text
            reply = await log_in(client, "key-admin", next=back)
            assert reply.headers["location"] == "/dashboard"

    anyio.run(main)


def test_logging_out_ends_the_session_even_for_who_kept_the_cookie() -> None:
    async def main() -> None:
        made = Made()
        async with made.logged_in() as client, made.client() as thief:
            thief.cookies.set("gate_session", client.cookies["gate_session"], "gate.test", "/dashboard")
            assert (await thief.get("/dashboard")).status_code == 200
            reply = await send(client, "/dashboard/logout", {})
            assert (reply.status_code, reply.headers["location"]) == (303, "/dashboard/login")
            assert "gate_session" not in client.cookies
            assert (await thief.get("/dashboard")).status_code == 303

    anyio.run(main)


def test_logging_out_needs_the_token() -> None:
    async def main() -> None:
        async with Made().logged_in() as client:
            assert (await send(client, "/dashboard/logout", {"token": "x"})).status_code == 403
            assert (await client.get("/dashboard")).status_code == 200

    anyio.run(main)


def test_a_key_is_never_shown_again() -> None:
    async def main() -> None:
        async with Made().client() as client:
            reply = await log_in(client, "x" * 2000)
            assert reply.status_code == 400
            assert "xxxx" not in reply.text

    anyio.run(main)
