"""The server of a file as an application of Ray Serve: the very application of ``gate serve``, in each replica.

Ray listens on every interface, whatever address it is told, and whoever reaches its ports runs code: let nobody but the
cluster's own nodes reach them. Only the port of Serve's proxies is for clients, behind a front server that ends TLS and
bounds headers, as `gate.proxy.protocol` does for ``gate serve``.

What a thousand replicas would take is worked out in ``tests/benchmarks/reliability/cluster.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gate.deploy.replicas import NAME, Replicas, deployment_options, replica_settings, revision_of_policies
from gate.deploy.reports import Reports
from gate.deploy.rollout import Seen, roll_out, said_of
from gate.deploy.trying import try_out
from gate.errors import ConfigError, GateError, MissingExtra
from gate.proxy.json_logs import configure
from gate.proxy.service import Service
from gate.proxy.serving import Extras, served
from gate.proxy.settings import ServerSettings, read_settings, settings_of
from gate.tuning.joining import join

try:
    import ray
    from ray import serve
    from ray.exceptions import RayError
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list, _internal_kv_put
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise MissingExtra("ray", "ray") from error

_REPORTS, _SETTINGS = "gate-reports", "gate-settings"
"""Namespaces in the cluster's own store: what came of the policies of replicas, by their ids; and the texts of server
files, by their revisions."""
_SAY_WITHIN = 5.0
"""Seconds that replicas have to say what came of their policies, once all run."""


class _Store:
    """A namespace of it. Fits `gate.deploy.reports.Store`."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def put(self, key: str, value: bytes) -> None:
        _internal_kv_put(key, value, namespace=self._namespace)

    def get(self, key: str) -> bytes | None:
        value: bytes | None = _internal_kv_get(key, namespace=self._namespace)
        return value

    def listed(self) -> Sequence[str]:
        return [key.decode() for key in _internal_kv_list("", namespace=self._namespace)]

    def delete(self, key: str) -> None:
        _internal_kv_del(key, namespace=self._namespace)


_texts = _Store(_SETTINGS)
_reports = Reports(_Store(_REPORTS), (RayError, OSError, ValueError))
"""With what Ray makes of the faults of its store."""


class Arguments(BaseModel):
    """What the application is made with: ``args`` in the configuration of Serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: str
    """The server's file, as each node finds it. Where the cluster keeps its text, only what it names is found by it."""
    several: bool = False
    """Whether there may be more than one replica."""
    revision: str = ""
    """Of the file's text. Another one has all replicas replaced."""


class Replica:
    """One copy of the server."""

    def __init__(self, config: str, several: bool, revision: str = "") -> None:
        """Blocks. Raises `ConfigError`, and where the deployment has grown beyond what its file allows."""
        context = serve.get_replica_context()
        self._settings = replica_settings(
            _settings(config, revision), several=several or (context is not None and context.world_size > 1)
        )
        self._service: Service | None = None

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Called by Serve once, in the replica's own process; it runs the application's lifespan."""
        configure()
        application, self._service = served(self._settings, Extras())
        return _marked_once(application)

    def check_health(self) -> None:
        """Raises where only another process would do better: Serve then replaces this one.

        A log or a store that cannot be reached is no such case. A new replica would not reach it either, and what waits
        to be written would be lost with the old one; ``/readyz`` tells of it.
        """
        log = None if self._service is None else self._service.log
        if log is not None and log.writer.stopped:
            raise RuntimeError("the thread that writes the decision log has ended")

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Serve what the policy files hold now. Requests under way end with the policy they began with.

        A policy that cannot be loaded changes nothing, as in ``gate serve``: ``/readyz`` and the metrics tell of it,
        and ``gate deploy``, which asks for it here. To raise would have Serve end a replica that serves.
        """
        if self._service is not None:
            await self._service.policies.reload(again=True)
        if asked := user_config.get("asked"):
            await anyio.to_thread.run_sync(self._report, str(asked), str(user_config.get("policies", "")))

    def _report(self, asked: str, wanted: str) -> None:
        refused = "" if self._service is None else self._service.policies.reload_error
        if not refused and wanted and revision_of_policies(self._settings) != wanted:
            refused = "its policy files are not those that were deployed: put them on each node, and deploy again"
        context = serve.get_replica_context()
        _reports.say(context.replica_id.unique_id, asked, refused)


def _marked_once(application: ASGIApp) -> ASGIApp:
    """Serve's proxy puts the id of a request into the response, too: gate's own stands there only where it differs."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        marks = [pair for pair in scope.get("headers", ()) if pair[0] == b"x-request-id"]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", ()) if tuple(pair) not in marks]
                message = {**message, "headers": kept}
            await send(message)

        await application(scope, receive, sent)

    return answered


def app(args: Mapping[str, Any]) -> serve.Application:
    """The application for ``args`` as `Arguments` has them. Raises `ConfigError`.

    ``serve run gate.deploy.ray:app config=server.yaml`` runs one replica of it.
    """
    try:
        said = Arguments.model_validate(dict(args))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"args.{first['loc'][-1]}: {first['msg']}") from error
    settings = _tried(said)
    options = deployment_options(settings, Replicas())
    deployment = serve.deployment(name=NAME, **options)(serve.ingress()(Replica))
    return deployment.bind(config=said.config, several=said.several, revision=said.revision)


def _settings(config: str, revision: str) -> ServerSettings:
    """As they were deployed: what the file says by now is for the next time."""
    kept = _texts.get(revision) if revision and ray.is_initialized() else None
    return read_settings(Path(config)) if kept is None else settings_of(kept.decode(), Path(config))


def _tried(said: Arguments) -> ServerSettings:
    """The settings of a replica, which could start here. Raises `GateError`."""
    settings = _settings(said.config, said.revision)
    try_out(replica_settings(settings, several=said.several))
    return settings


def connect(address: str, *, seconds: float = 10) -> None:
    """Join the cluster at an address (``auto``: the one of this machine, ``ray://…``). Raises `ConfigError`."""
    join(ray, address, seconds=seconds, namespace="serve")


def deploy(config: Mapping[str, Any], text: bytes, *, seconds: float = 300) -> None:
    """Have a cluster that this process has joined run a configuration of `gate.deploy.replicas.serve_config`.

    ``text``: of the server's file it was made of. The cluster keeps it, so that whatever starts or comes back later is
    as it was deployed. Returns once all replicas run it, and serve its policies. Raises `ConfigError` as
    `gate.deploy.rollout.roll_out`.
    """
    made = ServeDeploySchema.model_validate(dict(config))
    serve.start(proxy_location=made.proxy_location, http_options=made.http_options.model_dump())
    roll_out(OfRay(), config, text, seconds=seconds)


class OfRay:
    """The cluster that this process has joined, where Serve was started. Fits `gate.deploy.rollout.Cluster`."""

    def __init__(self) -> None:
        self._client = _get_global_client()

    def listens(self) -> tuple[str, int]:
        return self._client.http_config.host, self._client.http_config.port

    def keep(self, revision: str, text: bytes) -> None:
        _texts.put(revision, text)

    def kept(self) -> Sequence[str]:
        return _texts.listed()

    def forget(self, revision: str) -> None:
        _texts.delete(revision)

    def tried(self, args: Mapping[str, Any], seconds: float) -> Sequence[str]:
        """On each node that has CPUs for a replica."""
        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if _may_run(node)}
        asked = {_asked_of(node, dict(args)): place for node, place in nodes.items()}
        done, waiting = ray.wait([*asked], num_returns=len(asked), timeout=seconds) if asked else ([], [])
        said = [f"the node {asked[one]} did not say within {seconds:g} s whether it could run it" for one in waiting]
        for one in done:
            try:
                fault = ray.get(one)
            except RayError as error:
                fault = f"the node {asked[one]} cannot try it: {said_of(str(error))}"
            said.append(fault)
        for one in waiting:
            ray.cancel(one, force=True)
        return sorted(filter(None, said))

    def seen(self) -> Seen | None:
        state = self._client.get_serve_details()["applications"].get(NAME)
        if state is None:
            return None
        said = (state["message"], *(each["message"] for each in state["deployments"].values()))
        reason = "; ".join(filter(None, said))
        status = getattr(state["status"], "value", state["status"])
        return Seen(status, reason or status, state["last_deployed_time_s"], state.get("deployed_app_config"))

    def apply(self, config: Mapping[str, Any]) -> None:
        self._client.deploy_apps(ServeDeploySchema.model_validate(dict(config)))

    def open_reports(self, asked: str) -> None:
        _reports.open(asked)

    def refusals(self, asked: str) -> tuple[Sequence[str], Sequence[str]]:
        return _reports.collect(asked, self._running, seconds=_SAY_WITHIN)

    def close_reports(self, asked: str) -> None:
        _reports.close(asked)

    def _running(self) -> set[str]:
        """The ids of the replicas that run: they have looked at their policies."""
        state = self._client.get_serve_details()["applications"].get(NAME) or {"deployments": {}}
        replicas = [each for one in state["deployments"].values() for each in one["replicas"]]
        return {each["replica_id"] for each in replicas if getattr(each["state"], "value", each["state"]) == "RUNNING"}


def _may_run(node: Mapping[str, Any]) -> bool:
    return bool(node["Alive"]) and node["Resources"].get("CPU", 0) >= 1


def _asked_of(node: str, args: dict[str, Any]) -> Any:
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return ray.remote(_fault).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(args)


def _fault(args: dict[str, Any]) -> str:
    try:
        _tried(Arguments.model_validate(args))
    except GateError as error:
        return str(error)
    return ""
