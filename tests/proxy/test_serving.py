"""From settings to a server: what is refused, what it is made of, and the dashboard that belongs to it."""

from __future__ import annotations

import gc
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gate.errors import ConfigError, UnknownName
from gate.log.jsonl import read
from gate.log.opening import open_log
from gate.proxy.counters import Counters
from gate.proxy.guardrail import GUARDRAIL
from gate.proxy.key_usage import usage_by_key
from gate.proxy.keys import Keys, hash_of, new_salt
from gate.proxy.metrics import Metrics
from gate.proxy.serving import Extras, Shown, check, counting_restarts, make_app, session_secret, settle
from gate.proxy.settings import AuditSettings, LogSettings, ServerSettings, SharedSettings, WebhookSettings
from gate.types import Certificate
from tests.proxy.fake_gateway import FakeGateway
from tests.proxy.live_server import live
from tests.proxy.reading import Noted, ask, get, until
from tests.proxy.served import SALT, bearer, key_of, keys_of, service_of
from tests.upstreams.faulty_server import FaultyServer, chat

POLICY = """\
name: small
promise: {max_error: 0.1}
upstreams: {main: {kind: openai_chat, base_url: "BASE", model: m-1}}
ladder: [main]
tiers: [[draft, samples, meanings]]
evidence: {samples: {n: 3}, meanings: {judge: lexical}}
signals: [vote_share]
calibrator: vote_share
rule: {answer_at: 0.8}
"""
KEY = "a-key-for-this-run"


@pytest.fixture(autouse=True)
def garbage() -> Iterator[None]:
    """As it was: an application settles the whole process."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.fixture
def upstream() -> Iterator[FaultyServer]:
    with FaultyServer(chat("Nigeria")) as server:
        yield server


@pytest.fixture
def policy(tmp_path: Path, upstream: FaultyServer) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(POLICY.replace("BASE", upstream.url))
    return str(path)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "0.0.0.0"}, "listens on loopback only, not on '0.0.0.0': make some with 'gate keys new"),
        ({"host": "gate.example"}, "listens on loopback only"),
        ({"workers": 2}, "set state: some/folder"),
    ],
)
def test_a_server_that_must_not_be_started_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(ServerSettings(**settings))
    with pytest.raises(ConfigError, match=said):
        make_app(ServerSettings(**settings), Extras())


def test_what_may_be_started_is_not(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        check(ServerSettings(host=host))
    check(ServerSettings(host="0.0.0.0", keys=tmp_path / "keys.yaml"))
    check(ServerSettings(workers=2, state=tmp_path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"policies": ("balancd",)}, "did you mean 'balanced'"),
        ({"keys": Path("nowhere/keys.yaml")}, "cannot read the key file"),
        ({"log": LogSettings(url="mysql://here")}, "mysql"),
        ({"log": LogSettings(url_env="GATE_TEST_NO_SUCH")}, "GATE_TEST_NO_SUCH"),
        ({"shared": SharedSettings(url_env="GATE_TEST_NO_SUCH")}, "GATE_TEST_NO_SUCH"),
        ({"shared": SharedSettings(url="sqlite:///here")}, "the address of the shared store cannot be read"),
        ({"state": Path("/dev/null/state")}, "cannot make the folder 'state'"),
    ],
    ids=["policy", "keys", "log", "log's address", "shared's address", "shared", "state"],
)
def test_what_cannot_be_used_is_named(settings: dict[str, Any], said: str, policy: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        make_app(ServerSettings(**{"policies": (policy,), **settings}), Extras())
    assert isinstance(caught.value, UnknownName) == ("policies" in settings)


# --- what it is made of ------------------------------------------------------------------------------------------


def test_a_server_logs_traces_and_limits_and_leaves_all_in_order(tmp_path: Path, policy: str) -> None:
    state, keys, trace = tmp_path / "state", tmp_path / "keys.yaml", tmp_path / "trace.jsonl"
    entry = {"name": "app", "hash": hash_of(key_of("app"), SALT), "rate": {"requests_per_minute": 100}}
    keys.write_text(yaml.safe_dump({"keys": [entry]}))
    keys.chmod(0o600)
    log = LogSettings(url=f"sqlite:///{tmp_path / 'log.db'}", keep="text")
    settings = ServerSettings(policies=(policy,), state=state, keys=keys, log=log, audit=AuditSettings(share=1))
    headers = {"authorization": f"Bearer {key_of('app')}"}
    with live(make_app(settings, Extras(trace=trace, text=True))) as url:
        reply = ask(url, headers=headers)
        assert reply.json()["choices"][0]["message"]["content"] == "Nigeria"
        assert reply.headers["x-ratelimit-remaining-requests"] == "99"
        assert ask(url).status_code == 401
    decision, written = reply.headers["x-gate-decision-id"], open_log(log.url)
    kept = written.reader.find(decision)
    written.close()
    assert kept is not None
    assert (kept.key, kept.audit, kept.question) == ("app", 1.0, "Where is Lagos?")
    assert [record.id for record in read(trace)] == [decision]
    with live(make_app(settings, Extras())) as url:
        ask(url, headers=headers)
    used = Counters.open(state)
    assert used.usage("app").total.requests == 2, "a restart forgets nothing"
    used.close()


def test_every_policy_observes_where_the_command_says_so(tmp_path: Path, policy: str) -> None:
    Path(policy).write_text(Path(policy).read_text() + "serving: {mode: observe, enforced_share: 1.0}\n")
    with live(make_app(ServerSettings(policies=(policy,)), Extras(observe=True))) as url:
        assert ask(url).headers["x-gate-mode"] == "observe"
        assert get(url, "/readyz").json()["mode"] == "observe"
    with live(make_app(ServerSettings(policies=(policy,)), Extras())) as url:
        assert "x-gate-mode" not in ask(url).headers


def test_what_is_loaded_for_good_is_out_of_the_collectors_sight() -> None:
    settle()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] == 5000


def test_workers_that_were_started_again_are_counted(tmp_path: Path) -> None:
    with counting_restarts(ServerSettings()) as nothing:
        assert nothing is None
    settings = ServerSettings(workers=2, state=tmp_path)
    with counting_restarts(settings) as restarted:
        assert restarted is not None
        restarted()
        worker = Metrics(tmp_path / "metrics")
        assert b"gate_worker_restarts_total 1.0" in worker.render()
        worker.close()


# --- several machines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_servers_that_share_a_store_keep_limits_together(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = request.getfixturevalue("redis").url if kind == "redis" else request.getfixturevalue("database")
    monkeypatch.setenv("GATE_TEST_SHARED_URL", url)
    keys = tmp_path / "keys.yaml"
    limited = {"name": "app", "hash": hash_of(key_of("app"), SALT), "rate": {"requests_per_minute": 5}}
    admin = {"name": "admin", "hash": hash_of(key_of("admin"), SALT), "roles": ["admin"]}
    keys.write_text(yaml.safe_dump({"keys": [limited, admin]}))
    keys.chmod(0o600)
    shared = SharedSettings(url_env="GATE_TEST_SHARED_URL", prefix="serving", timeout=5)
    settings = [ServerSettings(policies=(policy,), state=tmp_path / each, keys=keys, shared=shared) for each in "ab"]
    with live(make_app(settings[0], Extras())) as one, live(make_app(settings[1], Extras())) as two:
        replies = [ask((one, two)[at % 2], headers=bearer("app")) for at in range(8)]
        assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 3
        left = [reply.headers["x-ratelimit-remaining-requests"] for reply in replies]
        assert left == ["4", "3", "2", "1", "0", "0", "0", "0"]
        state = get(one, "/readyz", bearer("admin")).json()["shared"]
        assert (state["up"], state["waiting"], state["lost"]) == (True, 0, 0)
        assert url not in str(state)
        shown = get(two, "/metrics", bearer("admin")).text
        assert "gate_shared_down 0.0" in shown
        assert "gate_shared_failures_total 0.0" in shown
    used = usage_by_key(settings[0])["app"]
    assert (used.total.requests, used.under_way) == (5, 0)
    assert used.total.tokens > 0, "what has ended was written before the server was gone"


@pytest.mark.parametrize("when_down", ["refuse", "local"])
def test_a_server_whose_store_is_away_starts_and_does_as_it_was_told(
    when_down: Any, tmp_path: Path, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = tmp_path / "keys.yaml"
    entries = [{"name": each, "hash": hash_of(key_of(each), SALT)} for each in ("app", "free")]
    keys.write_text(yaml.safe_dump({"keys": [{**entries[0], "rate": {"requests_per_minute": 2}}, entries[1]]}))
    keys.chmod(0o600)
    shared = SharedSettings(url="unix:///nowhere/redis.sock", when_down=when_down)
    with live(make_app(ServerSettings(policies=(policy,), keys=keys, shared=shared), Extras())) as url:
        replies = [ask(url, headers=bearer("app")) for _ in range(4)]
        assert ask(url, headers=bearer("free")).status_code == 200, "who has no limits has no need of it"
        assert get(url, "/readyz").status_code == 200
    if when_down == "local":
        assert [reply.status_code for reply in replies] == [200, 200, 429, 429]
        assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["1", "0", "0", "0"]
    else:
        assert [reply.status_code for reply in replies] == [503] * 4
        assert {reply.json()["error"]["code"] for reply in replies} == {"limits_unavailable"}
        assert {reply.headers["retry-after"] for reply in replies} == {"1"}
    told = [record.getMessage() for record in caplog.records if "shared store" in record.getMessage()]
    assert told[0].startswith("the shared store cannot be used: Redis at /nowhere/redis.sock: it cannot be reached")
    assert len(told) == (1 if when_down == "refuse" else 2), "once, and at the end what could not be written"


def test_an_answer_is_known_to_another_worker_than_the_one_that_was_shown_its_question(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "litellm" / "policy.yaml"
    settings = ServerSettings(policies=(str(example),), workers=2, state=tmp_path, dashboard=False)
    message = {"role": "user", "content": "Where is Nanjing?"}
    asked = {"input_type": "request", "litellm_call_id": "c", "structured_messages": [message]}
    told = {"input_type": "response", "litellm_call_id": "c", "texts": ["China"]}
    with live(make_app(settings, Extras())) as one, live(make_app(settings, Extras())) as other:
        assert httpx.post(one + GUARDRAIL.path, json=asked).json() == {"action": "NONE"}
        assert httpx.post(other + GUARDRAIL.path, json=told).json()["action"] == "NONE"
        assert [*(tmp_path / "conversations").iterdir()]
    assert not [*(tmp_path / "conversations").iterdir()]


# --- the dashboard -----------------------------------------------------------------------------------------------


def log_in(client: httpx.Client, url: str, key: str) -> httpx.Response:
    form = client.get("/dashboard/login").text
    fields = {"token": token_of(form), "key": key}
    return client.post("/dashboard/login", data=fields, headers={"origin": url})


def token_of(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found
    return found[1]


def browser(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, verify=False, trust_env=False, timeout=20)


def test_the_key_of_the_run_opens_the_dashboard_and_a_label_reaches_the_monitor(tmp_path: Path, policy: str) -> None:
    log = LogSettings(url=f"sqlite:///{tmp_path / 'log.db'}")
    settings = ServerSettings(policies=(policy,), log=log, audit=AuditSettings(share=1))
    with live(make_app(settings, Extras(dashboard_key=KEY))) as url, browser(url) as client:
        decision = ask(url).headers["x-gate-decision-id"]
        assert client.get("/dashboard").status_code == 303
        assert log_in(client, url, "another").status_code in (401, 403)
        assert log_in(client, url, KEY).status_code == 303
        assert "small" in client.get("/dashboard").text
        until(lambda: decision in client.get("/dashboard/review").text)
        fields = {"token": token_of(client.get("/dashboard/review").text), "verdict": "wrong"}
        judged = client.post(f"/dashboard/review/{decision}", data=fields, headers={"origin": url})
        assert judged.status_code == 303
        promise = get(url, "/readyz").json()["promise"]
    assert (promise["audited"], promise["wrong"]) == (1, 1)


def test_without_a_key_for_the_run_nothing_opens_it_and_it_can_be_left_out(policy: str) -> None:
    with live(make_app(ServerSettings(policies=(policy,)), Extras())) as url, browser(url) as client:
        for key in ("", "x"):
            assert log_in(client, url, key).status_code != 303
    with live(make_app(ServerSettings(policies=(policy,), dashboard=False), Extras(dashboard_key=KEY))) as url:
        assert get(url, "/dashboard/login").status_code == 404


def test_with_keys_those_open_it_that_may_and_as_long_as_they_may(tmp_path: Path, policy: str) -> None:
    service = service_of(keys=keys_of(ops={"roles": ["admin"]}, desk={"roles": ["review"], "policies": ["a"]}))
    shown = Shown(service)
    ops, desk = shown.viewer("ops"), shown.viewer("desk")
    assert ops is not None
    assert desk is not None
    assert (ops.admin, ops.policies, desk.admin, desk.policies) == (True, None, False, frozenset({"a"}))
    assert shown.viewer("gone") is None
    service.keys = keys_of(ops={"roles": ["admin"], "disabled": True})
    assert shown.viewer("ops") is None
    alone = Shown(service_of())
    anyone = alone.viewer("anyone")
    assert anyone is not None
    assert anyone.admin
    assert alone.viewer("ops") is None


def test_a_session_is_of_one_key_and_not_of_the_next_of_its_name(tmp_path: Path) -> None:
    salt, shown, marks = new_salt(), Shown(service := service_of()), []
    for key, more in (("gate-one", ""), ("gate-other", ""), ("gate-one", "roles: [review]")):
        path = tmp_path / "keys.yaml"
        path.write_text(f"keys:\n  - name: ops\n    hash: {hash_of(key, salt)}\n    {more}\n")
        path.chmod(0o600)
        service.keys = Keys.load(path)
        viewer = shown.viewer("ops")
        assert viewer is not None
        client = service.keys.identify(f"Bearer {key}", None)
        assert client is not None
        assert (viewer.mark, client.mark) == (hash_of(key, salt).rsplit(":", 1)[1][:16],) * 2
        marks.append(viewer.mark)
    assert marks[0] == marks[2] != marks[1], "its roles may change, it may not"


def test_the_dashboard_is_told_what_is_live() -> None:
    held = Certificate(0.05, 0.05, 100, 60, 1, 0.04, "all", "2026-01-01", {})
    gateway = FakeGateway(name="a", certificate=held, seen_void=("another model answers",))
    (live_policy,) = Shown(service_of(gateway)).policies()
    assert (live_policy.name, live_policy.mode, live_policy.certificate) == ("a", "enforce", held)
    assert live_policy.void == ("another model answers",)
    assert live_policy.max_error == gateway.policy.promise.max_error
    assert Shown(service_of()).log_health() is None
    log: Any = Noted()
    log.waiting, log.dropped, log.failed = 3, 1, 2
    health = Shown(service_of(log=log)).log_health()
    assert health is not None
    assert (health.keep, health.waiting, health.dropped, health.problem) == ("scalars", 3, 3, "")
    log.full = True
    full = Shown(service_of(log=log)).log_health()
    assert full is not None
    assert "nothing is decided" in full.problem


def test_sessions_are_signed_with_the_same_by_all_that_share_a_folder(tmp_path: Path) -> None:
    made = session_secret(tmp_path)
    assert len(made) == 32
    assert session_secret(tmp_path) == made
    assert session_secret(None) != session_secret(None)
    (path,) = tmp_path.iterdir()
    assert path.name == "dashboard.secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_alarm_needs_its_secret_at_the_start(tmp_path: Path, policy: str) -> None:
    settings = ServerSettings(
        policies=(policy,),
        log=LogSettings(url=f"sqlite:///{tmp_path / 'log.db'}"),
        webhook=WebhookSettings(url="http://127.0.0.1:9/x", secret_env="GATE_TEST_NO_SUCH"),
    )
    with pytest.raises(ConfigError, match="GATE_TEST_NO_SUCH"):
        make_app(settings, Extras())
    assert not [thread for thread in threading.enumerate() if thread.name == "gate-log"], "what was open is closed"
