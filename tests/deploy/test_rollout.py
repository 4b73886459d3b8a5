"""A rollout against a cluster that is made up. Against Ray: `tests.integrations.test_ray_serve`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from gate.deploy import rollout
from gate.deploy.rollout import Seen, roll_out, said_of
from gate.errors import ConfigError

TEXT = b"policies: [balanced]"
OLD: dict[str, Any] = {"name": "gate", "args": {"config": "old.yaml", "revision": "old"}, "deployments": []}


def configured(port: int = 8800) -> dict[str, Any]:
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [
            {
                "name": "gate",
                "args": {"config": "server.yaml", "revision": "new"},
                "deployments": [{"name": "gate", "user_config": {"policies": "abc"}}],
            }
        ],
    }


@dataclass
class MadeUp:
    """Shows, of what it is told to run, one state after the other; the last one stays."""

    states: list[tuple[str, str]] = field(default_factory=lambda: [("RUNNING", "")])
    before: Seen | None = None
    faults: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    trying: Callable[[], None] = lambda: None
    """What happens while the nodes try it."""
    open: list[str] = field(default_factory=list)
    back: str = "RUNNING"
    behind: float = 0.0
    """Seconds that its clock is behind."""
    applied: list[Mapping[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tried_with: list[Mapping[str, Any]] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=lambda: {"old": b"policies: [strict]"})
    _now: Seen | None = None
    _looks: int = 0

    def __post_init__(self) -> None:
        self._now = self.before

    def listens(self) -> tuple[str, int]:
        return "127.0.0.1", 8800

    def keep(self, revision: str, text: bytes) -> None:
        self.texts[revision] = text

    def kept(self) -> Sequence[str]:
        return list(self.texts)

    def forget(self, revision: str) -> None:
        del self.texts[revision]

    def tried(self, args: Mapping[str, Any], seconds: float) -> Sequence[str]:
        self.tried_with.append(args)
        self.trying()
        return self.faults

    def seen(self) -> Seen | None:
        if not self.applied or self._looks == 0:  # what it was told is not seen at once
            self._looks += bool(self.applied)
            return self._now
        stamp = 1000.0 - self.behind + len(self.applied)
        if len(self.applied) == 1:
            status, reason = self.states[min(self._looks, len(self.states)) - 1]
        else:
            status, reason = self.back, "why not"
        self._looks += 1
        self._now = Seen(status, reason, stamp, self.applied[-1]["applications"][0])
        return self._now

    def apply(self, config: Mapping[str, Any]) -> None:
        self.applied.append(config)
        self._looks = 0

    def open_reports(self, asked: str) -> None:
        self.open.append(asked)

    def refusals(self, asked: str) -> tuple[Sequence[str], Sequence[str]]:
        assert self.open == [asked]
        self.asked.append(asked)
        return self.refused, self.silent

    def close_reports(self, asked: str) -> None:
        self.open = [each for each in self.open if each != asked]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(rollout, "_BACK_WITHIN", 0.05)


def refused(cluster: MadeUp, config: Mapping[str, Any] | None = None, seconds: float = 5.0) -> str:
    with pytest.raises(ConfigError) as caught:
        roll_out(cluster, config or configured(), TEXT, seconds=seconds)
    return str(caught.value)


def test_what_a_node_could_not_run_changes_nothing() -> None:
    cluster = MadeUp(faults=["the log is away", "the log is away", "no keys"])
    assert refused(cluster) == "nothing was changed: the log is away; no keys"
    assert cluster.applied == []
    assert cluster.tried_with == [{"config": "server.yaml", "revision": "new"}]


def test_another_port_is_refused_and_it_says_what_to_do() -> None:
    cluster = MadeUp()
    said = refused(cluster, configured(port=8801))
    assert "127.0.0.1:8800" in said
    assert "127.0.0.1:8801" in said
    assert "serve shutdown" in said
    assert (cluster.applied, cluster.tried_with) == ([], [])


@pytest.mark.parametrize("behind", [-3600.0, 0.0, 3600.0, 1001.0])
def test_clocks_need_not_agree(behind: float) -> None:
    cluster = MadeUp([("DEPLOYING", ""), ("RUNNING", "")], Seen("RUNNING", "", 1000.0 - behind, OLD), behind=behind)
    roll_out(cluster, configured(), TEXT, seconds=5)
    assert len(cluster.applied) == 1


def test_the_text_is_kept_that_runs_and_no_other() -> None:
    cluster = MadeUp()
    roll_out(cluster, configured(), TEXT, seconds=5)
    assert cluster.texts == {"new": TEXT}


def test_the_text_of_what_is_refused_is_forgotten_unless_it_runs() -> None:
    refused(cluster := MadeUp(faults=["no keys"], before=Seen("RUNNING", "", 999.0, OLD)))
    assert list(cluster.texts) == ["old"]
    refused(cluster := MadeUp([("DEPLOY_FAILED", "no memory")], Seen("RUNNING", "", 999.0, OLD)))
    assert (list(cluster.texts), cluster.open) == (["old"], [])
    new = configured()["applications"][0]
    refused(cluster := MadeUp(faults=["no keys"], before=Seen("RUNNING", "", 999.0, new)))
    assert cluster.texts["new"] == TEXT
    refused(cluster := MadeUp(faults=["no keys"], before=Seen("RUNNING", "", 999.0, None)))
    assert cluster.texts["new"] == TEXT, "what runs is not known"


def test_another_rollout_loses_no_text() -> None:
    cluster = MadeUp()
    cluster.trying = lambda: cluster.forget("new")  # another one ended meanwhile
    roll_out(cluster, configured(), TEXT, seconds=5)
    assert cluster.texts == {"new": TEXT}
    other = configured()
    other["applications"][0]["args"] = {"config": "server.yaml", "revision": "other"}
    cluster = MadeUp()

    def deployed_meanwhile(asked: str) -> None:
        cluster.open.append(asked)
        cluster.texts["other"] = b"of another"
        seen = cluster.seen
        cluster.seen = lambda: replace(now, config=other["applications"][0]) if (now := seen()) else None  # type: ignore[method-assign]

    cluster.open_reports = deployed_meanwhile  # type: ignore[method-assign]
    roll_out(cluster, configured(), TEXT, seconds=5)
    assert cluster.texts == {"new": TEXT, "other": b"of another"}


def test_a_node_that_takes_all_the_time_leaves_some_to_the_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(rollout, "time", SimpleNamespace(monotonic=lambda: now, sleep=lambda _: passes(0.2)))
    cluster = MadeUp([("DEPLOYING", ""), ("RUNNING", "")], trying=lambda: passes(9.0))
    roll_out(cluster, configured(), TEXT, seconds=5)
    assert now > 9


def test_it_looks_once_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(MadeUp):
        def apply(self, config: Mapping[str, Any]) -> None:
            super().apply(config)
            self._looks = 1
            monkeypatch.setattr(rollout, "time", SimpleNamespace(monotonic=lambda: next(ticks), sleep=lambda _: None))

    ticks = iter([0.0, 100.0])
    assert "no room" in refused(Slow([("DEPLOYING", "no room")]))


def test_how_it_was_before_is_not_taken_for_how_it_is() -> None:
    failed = Seen("DEPLOY_FAILED", "an old fault", 999.0, OLD)
    roll_out(MadeUp([("RUNNING", "")], failed), configured(), TEXT, seconds=5)
    assert "this one" in refused(MadeUp([("DEPLOY_FAILED", "this one")], Seen("RUNNING", "", 999.0, None)))


def test_what_ran_before_is_put_back() -> None:
    cluster = MadeUp([("DEPLOYING", ""), ("DEPLOY_FAILED", "no memory")], Seen("RUNNING", "", 999.0, OLD))
    assert refused(cluster) == (
        "the replicas cannot run: no memory; the configuration before was put back, and its replicas serve"
    )
    assert cluster.applied[1]["applications"] == [OLD]
    assert cluster.texts["old"] == b"policies: [strict]", "whatever the file says by now"
    assert cluster.applied[1]["http_options"] == cluster.applied[0]["http_options"]


def test_what_cannot_be_put_back_is_told() -> None:
    cluster = MadeUp([("DEPLOY_FAILED", "no memory")], Seen("RUNNING", "", 999.0, OLD), back="DEPLOY_FAILED")
    assert "could not be put back: why not" in refused(cluster)


@pytest.mark.parametrize(
    "before", [None, Seen("DEPLOY_FAILED", "", 999.0, OLD), Seen("RUNNING", "", 999.0, None)], ids=["none", "bad", "?"]
)
def test_what_did_not_run_is_not_put_back(before: Seen | None) -> None:
    cluster = MadeUp([("DEPLOY_FAILED", "no memory")], before)
    assert refused(cluster) == "the replicas cannot run: no memory"
    assert len(cluster.applied) == 1


def test_when_the_time_is_over_it_goes_on() -> None:
    cluster = MadeUp([("DEPLOYING", "no room for another replica")], Seen("RUNNING", "", 999.0, OLD))
    said = refused(cluster, seconds=0.05)
    assert "no room for another replica" in said
    assert "still tried" in said
    assert len(cluster.applied) == 1


def test_policies_that_replicas_refuse_are_told_and_no_replica_is_ended() -> None:
    cluster = MadeUp(refused=["mine.yaml:3: no such signal"])
    assert refused(cluster) == "replicas serve the policies they had: mine.yaml:3: no such signal"
    assert len(cluster.applied) == 1
    first = cluster.asked[0]
    (deployment,) = cluster.applied[0]["applications"][0]["deployments"]
    assert deployment["user_config"] == {"policies": "abc", "asked": first}
    roll_out(again := MadeUp(), configured(), TEXT, seconds=5)
    assert again.asked[0] != first, "each rollout has its replicas look again"


def test_a_replica_that_does_not_say_is_named() -> None:
    cluster = MadeUp(silent=["b1"])
    said = "1 of the replicas did not say whether they serve the policies as they are now: b1"
    assert refused(cluster) == said
    assert cluster.open == []
    both = refused(MadeUp(refused=["no such signal"], silent=[f"r{at}" for at in range(9)]))
    assert both.startswith("replicas serve the policies they had: no such signal; 9 of the replicas did not say")
    assert both.endswith("r3, r4, …")


TRACEBACK = """Deploying app 'gate' failed with exception:
Traceback (most recent call last):
  File "/x/ray/serve/_private/application_state.py", line 1736, in build_serve_application
    raise ConfigError(said)
gate.errors.ConfigError: the environment variable 'NOT_THERE_LOG' is not set: it must hold the address
"""


def test_of_a_traceback_what_gate_says_is_kept() -> None:
    core = "the environment variable 'NOT_THERE_LOG' is not set: it must hold the address"
    assert said_of(TRACEBACK) == core
    assert said_of(f"{TRACEBACK}; {TRACEBACK}") == core
    assert said_of(f"The deployment failed to start 3 times. Error:\n{TRACEBACK}\nSee the logs.") == core
    assert said_of("; ".join([TRACEBACK, "gate.errors.MissingExtra: pip install it"])).endswith("pip install it")


def test_of_what_others_say_the_end_is_kept() -> None:
    assert said_of("no  memory\n") == "no memory"
    assert len(said_of("x" * 3000)) < 500
