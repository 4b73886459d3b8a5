"""Having a cluster run a configuration: first tried on each of its nodes, then rolled out, and put back where it fails.

What a cluster is asked is a `Cluster`; that of Ray is in `gate.deploy.ray`.
"""

from __future__ import annotations

import copy
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gate.errors import ConfigError

_LOOK_EVERY = 0.2
_BACK_WITHIN = 60.0
"""Seconds that what ran before gets to be what runs again."""
_OURS = re.compile(r"gate\.errors\.\w+: (.*?)(?=\\n|\n|'\. See|$)")
"""What gate says in a traceback that Serve hands on, as it is or within quotes."""
_LONGEST = 400
_NAMED = 5
"""Replicas that are named, of those that did not say."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An application, as a cluster shows it."""

    status: str
    reason: str
    stamp: float
    """Another after each time it was told to run something."""
    config: Mapping[str, Any] | None = None
    """What it was told last; None where that is not known."""


class Cluster(Protocol):
    """What a rollout asks of a cluster."""

    def listens(self) -> tuple[str, int]:
        """Where its proxies listen for clients."""
        ...

    def keep(self, revision: str, text: bytes) -> None:
        """Keep the text of a server's file for those that run it."""
        ...

    def kept(self) -> Sequence[str]:
        """The revisions whose texts are kept."""
        ...

    def forget(self, revision: str) -> None:
        """Its text."""
        ...

    def tried(self, args: Mapping[str, Any], seconds: float) -> Sequence[str]:
        """What each node has against running these arguments."""
        ...

    def seen(self) -> Seen | None:
        """The application of this name, where there is one."""
        ...

    def apply(self, config: Mapping[str, Any]) -> None:
        """Begin to run a configuration."""
        ...

    def open_reports(self, asked: str) -> None:
        """Have replicas say what came of their policies, where they are asked by this mark."""
        ...

    def refusals(self, asked: str) -> tuple[Sequence[str], Sequence[str]]:
        """Why running replicas do not serve the policies they were asked to, and which did not say."""
        ...

    def close_reports(self, asked: str) -> None:
        """Have them say nothing any more."""
        ...


def roll_out(cluster: Cluster, config: Mapping[str, Any], text: bytes, *, seconds: float) -> None:
    """Run a configuration of `gate.deploy.replicas.serve_config`, of a server's file with this text; returns once all
    replicas do.

    Raises `ConfigError`: where the cluster listens elsewhere, or a node could not run it, with nothing changed; where
    the replicas cannot run, with the configuration before put back; where they do not within ``seconds``, of which the
    nodes have as many before; and where they run and do not serve the policies as they are now, or do not say so.
    """
    _check_place(cluster, config)
    (application,) = config["applications"]
    revision = application["args"]["revision"]
    asked = secrets.token_hex(8)
    cluster.keep(revision, text)
    try:
        faults = cluster.tried(application["args"], seconds)
        if faults:
            raise ConfigError(f"nothing was changed: {_listed(faults)}")
        cluster.keep(revision, text)  # again: a rollout that ended meanwhile forgets what is not deployed
        cluster.open_reports(asked)
        _run(cluster, _asking(config, asked), seconds)
        _forget(cluster, [each for each in cluster.kept() if each != revision])
        refused, silent = cluster.refusals(asked)
    except ConfigError:
        _forget(cluster, [revision])
        raise
    finally:
        cluster.close_reports(asked)
    said = [f"replicas serve the policies they had: {_listed(refused)}"] if refused else []
    if silent:
        some = ", ".join(silent[:_NAMED]) + (", …" if len(silent) > _NAMED else "")
        said.append(
            f"{len(silent)} of the replicas did not say whether they serve the policies as they are now: {some}"
        )
    if said:
        raise ConfigError("; ".join(said))


def _run(cluster: Cluster, config: Mapping[str, Any], seconds: float) -> None:
    before = cluster.seen()
    cluster.apply(config)
    state = _settled(cluster, before, time.monotonic() + seconds)
    if state is None or state.status not in {"RUNNING", "DEPLOY_FAILED", "UNHEALTHY"}:
        said = said_of(state.reason) if state else "none was made"
        raise ConfigError(f"the replicas do not run after {seconds:g} s, and are still tried: {said}")
    if state.status != "RUNNING":
        back = _put_back(cluster, before, config) if state.status == "DEPLOY_FAILED" else ""
        raise ConfigError(f"the replicas cannot run: {said_of(state.reason)}{back}")


def _forget(cluster: Cluster, revisions: Sequence[str]) -> None:
    """Their texts, but for what is deployed now: looked at after they were listed, so another rollout loses nothing."""
    now = cluster.seen()
    if now is not None and now.config is None:
        return
    deployed = None if now is None or now.config is None else now.config.get("args", {}).get("revision")
    for revision in revisions:
        if revision != deployed:
            cluster.forget(revision)


def _check_place(cluster: Cluster, config: Mapping[str, Any]) -> None:
    wanted = (config["http_options"]["host"], config["http_options"]["port"])
    if (now := cluster.listens()) != wanted:
        raise ConfigError(
            f"nothing was changed: the cluster listens at {now[0]}:{now[1]}, and Serve cannot move to "
            f"{wanted[0]}:{wanted[1]} while it runs: keep host and port, or end it all with 'serve shutdown' first"
        )


def _asking(config: Mapping[str, Any], asked: str) -> dict[str, Any]:
    """The same, and every replica looks at its policies and says what came of it."""
    made = copy.deepcopy(dict(config))
    for deployment in made["applications"][0]["deployments"]:
        deployment["user_config"] = {**deployment["user_config"], "asked": asked}
    return made


def _settled(cluster: Cluster, before: Seen | None, until: float) -> Seen | None:
    """How it is once it runs or cannot, or when the time is over. By the stamps of the cluster alone: its clock may be
    another than this machine's. It looks once at least."""
    while True:
        state = cluster.seen()
        told = state is not None and (before is None or state.stamp != before.stamp)
        if state is not None and told and state.status in {"RUNNING", "DEPLOY_FAILED", "UNHEALTHY"}:
            return state
        if time.monotonic() >= until:
            return state if told else None
        time.sleep(_LOOK_EVERY)


def _put_back(cluster: Cluster, before: Seen | None, config: Mapping[str, Any]) -> str:
    """Have it run again what it ran, and say what came of that."""
    if before is None or before.config is None or before.status != "RUNNING":
        return ""
    failed = cluster.seen()
    cluster.apply({**config, "applications": [before.config]})
    state = _settled(cluster, failed, time.monotonic() + _BACK_WITHIN)
    if state is not None and state.status == "RUNNING":
        return "; the configuration before was put back, and its replicas serve"
    why = f": {said_of(state.reason)}" if state is not None and state.reason else ""
    return f"; the configuration before could not be put back{why}; the replicas that are left serve"


def said_of(reason: str) -> str:
    """The core of what Serve says: gate's own words where there are some, else the end of it."""
    ours = [" ".join(found.split()) for found in _OURS.findall(reason)]
    if ours:
        return _listed(ours)
    plain = " ".join(reason.split())
    return plain if len(plain) <= _LONGEST else f"… {plain[-_LONGEST:]}"


def _listed(said: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(said))
