"""A question put before a person: what is posted, once, and under which reference it is found again."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from pydantic import ValidationError

from gate.drivers import Recording, ReplayDriver, World
from gate.effects import HandOver, Reply, effect_key, hand_over
from gate.errors import ConfigError, UpstreamError, UpstreamTimeout
from gate.people import Webhook
from gate.types import Message, Passage
from tests.drivers.running import both, run
from tests.upstreams.faulty_server import FaultyServer, cut_mid_body, resets, says, silent, status

PASSAGE = Passage("1", "Lagos \ud800 is big.", 2.0, "Lagos", "http://x", 7)
WIRE = {"role": "user", "content": [{"type": "text", "text": "Where is Lagos?"}]}
ASKED = HandOver(
    "desk",
    (Message("system", "Be brief."), Message("user", "Where is Lagos?", WIRE)),
    "uncertain",
    draft="Ghana",
    p=0.25,
    passages=(PASSAGE,),
)


def desk(url: str, **options: Any) -> Webhook:
    return Webhook.from_options("desk", Webhook.Options.model_validate({"url": url, **options}))


def handed(server: FaultyServer, *, threaded: bool, seconds: float = 20, **options: Any) -> tuple[str, Recording]:
    world = World({}, people={"desk": desk(server.url, **options)}, timeouts={"person:desk": seconds})
    reply, recording = run(world, hand_over(ASKED), threaded=threaded)
    assert isinstance(reply, Reply)
    assert (reply.cost.calls, reply.cost.tokens, reply.cost.money) == (0, 0, 0.0)
    return reply.value, recording


@both
def test_all_a_person_needs_is_posted_once_and_signed(threaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    with FaultyServer(says(b'{"reference": "T-1"}')) as server:
        reference, recording = handed(server, threaded=threaded, secret_env="A_SECRET", headers={"x-team": "maps"})
    assert reference == "T-1"
    key = effect_key(ASKED)
    assert server.asked == [
        {
            "path": "/v1",
            "id": key,
            "question": "Where is Lagos?",
            "conversation": [{"role": "system", "content": "Be brief."}, WIRE],
            "reason": "uncertain",
            "confidence": 0.25,
            "draft": "Ghana",
            "passages": [{"id": "1", "title": "Lagos", "source": "http://x", "text": "Lagos ? is big."}],
        }
    ]
    (headers,), (body,) = server.headers, server.bodies
    assert (headers["idempotency-key"], headers["x-team"]) == (key, "maps")
    assert headers["x-gate-signature"] == f"sha256={hmac.new(b's3cret', body, hashlib.sha256).hexdigest()}"
    (entry,) = recording.tape
    assert (entry.kind, entry.key, entry.reference) == ("handover", key, "T-1")


def test_the_same_hand_over_has_the_same_key_and_another_another() -> None:
    first, again = (desk("http://h").encode(ASKED).headers["idempotency-key"] for _ in range(2))
    other = desk("http://h").encode(HandOver("desk", ASKED.messages, "budget_spent")).headers["idempotency-key"]
    assert first == again != other
    assert "x-gate-signature" not in desk("http://h").encode(ASKED).headers


@pytest.mark.parametrize("p", [None, float("nan")])
def test_a_confidence_that_is_none_is_null(p: float | None) -> None:
    request = desk("http://h").encode(HandOver("desk", (), "uncertain", p=p))
    assert (json.loads(request.content)["confidence"], json.loads(request.content)["question"]) == (None, "")


@pytest.mark.parametrize(
    ("status", "body", "reference"),
    [
        (200, b'{"reference": "T-1"}', "T-1"),
        (201, b'{"reference": 17, "more": []}', "17"),
        (200, b'{"reference": " a\\nb\\u0000\\ud800c "}', "a b c"),
        (200, b'{"reference": "' + b"x" * 1000 + b'"}', "x" * 200),
        (200, b'{"reference": null}', ""),
        (200, b'{"reference": true}', ""),
        (200, b"[]", ""),
        (204, b"", ""),
        (202, b"ok", ""),
    ],
)
def test_the_reference_is_read_where_there_is_one(status: int, body: bytes, reference: str) -> None:
    assert desk("http://h").decode(status, {}, body) == reference


def test_without_one_it_is_the_key() -> None:
    with FaultyServer(status(204, b"")) as server:
        assert handed(server, threaded=True)[0] == effect_key(ASKED)


@both
@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (status(503, b'{"error": "busy"}', retry_after="0"), "refused with status 503"),
        (status(302, b"", location="http://127.0.0.1:1"), r"answered with status 302, not 200 \(is url right\?\)"),
        (says(b"<html>log in</html>", "text/html"), "answered HTML, not JSON"),
        (resets, "broke the connection off"),
        (cut_mid_body, "broke the connection off"),
        (silent(), "did not answer before the deadline"),
    ],
    ids=["busy", "redirect", "login", "resets", "cut", "silent"],
)
def test_what_may_have_arrived_is_not_sent_again(behaviour: Any, said: str, threaded: bool) -> None:
    with FaultyServer(behaviour) as server:
        with pytest.raises(UpstreamError, match=f"'desk': {said}") as caught:
            handed(server, threaded=threaded, seconds=0.3 if "deadline" in said else 20)
        assert len(server.asked) == 1
    assert isinstance(caught.value, UpstreamTimeout) == ("deadline" in said)


@both
def test_what_cannot_have_arrived_is_tried_again(threaded: bool) -> None:
    class Desk:
        name = fingerprint = "desk"
        tries = 0

        def complete(self, effect: HandOver, cancelled: object) -> str:
            self.tries += 1
            if self.tries < 3:
                raise UpstreamError("desk", "cannot be reached", retryable=True, unsent=True, retry_after=0.001)
            return "T-2"

    person = Desk()
    reply, recording = run(World({}, people={"desk": person}), hand_over(ASKED), threaded=threaded)
    assert isinstance(reply, Reply)
    assert (reply.value, person.tries) == ("T-2", 3)
    replayed = ReplayDriver(recording.tape).run(hand_over(ASKED), Recording())
    assert (replayed, person.tries) == (reply, 3), "a replay calls nobody"


def test_options_that_cannot_be_used_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, said in (
        ({"url": "desk.example.org"}, "http or https"),
        ({"url": "http://me:pw@desk"}, "no user name"),
        ({"url": "http://desk", "headers": {"authorization": "x"}}, "holds a key"),
    ):
        with pytest.raises(ValidationError, match=said):
            Webhook.Options.model_validate(options)
    monkeypatch.delenv("NO_SECRET", raising=False)
    with pytest.raises(ConfigError, match="'NO_SECRET' is not set: it must hold the secret"):
        desk("http://desk", secret_env="NO_SECRET")
