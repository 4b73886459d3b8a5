"""The only place where names become objects: a policy file in, a gateway ready to run out.

Third parties add signals, evidence sources, upstreams and routes by entry points in the groups ``gate.signals``,
``gate.evidence`` and ``gate.upstreams``; they are read here, once, and a name that stands twice is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, cast

from gate import prompts
from gate.calibration import LogisticCalibrator, VoteShareCalibrator
from gate.drivers import World
from gate.errors import ConfigError, UnknownName
from gate.evidence import DraftSource, MeaningsSource, PassagesSource, SamplesSource
from gate.gateway import Gateway
from gate.pipeline import Plan
from gate.policy import Policy, PolicyFile, find, options, read
from gate.ports import Calibrator, EvidenceSource, Price, Retriever, Route, Signal, Upstream
from gate.retrieval import Bm25Retriever
from gate.routes import AbstainRoute, AnswerRoute, EscalateRoute, RetrieveRoute
from gate.signals import SIGNALS
from gate.types import Action, Budget, Stage
from gate.upstreams import UPSTREAMS


def load_gateway(name_or_path: str) -> Gateway:
    """The gateway for a policy: a shipped one by name, or any file by path. Raises `ConfigError`."""
    return assemble(read(find(name_or_path)))


def assemble(file: PolicyFile) -> Gateway:
    """Build everything a policy names. Raises `ConfigError` with the line of what cannot be built."""
    policy = file.policy
    upstreams = {name: _upstream(file, name) for name in policy.upstreams}
    for place, name in enumerate(policy.ladder):
        if name not in upstreams:
            raise UnknownName("upstream", name, upstreams, where=file.where("ladder", place))
    signals = _signals(file)
    retrievers = {name: _retriever(file, name) for name in policy.retrievers}
    plan = Plan(
        ladder=policy.ladder,
        profiles={name: upstreams[name].profile for name in policy.ladder},
        tiers=tuple(
            tuple(_source(file, name, "tiers", tier, place) for place, name in enumerate(names))
            for tier, names in enumerate(policy.tiers)
        ),
        signals=signals,
        calibrator=_calibrator(file),
        rule=policy.rule,
        routes=_routes(file, upstreams, retrievers),
        budget=Budget(**policy.budget.model_dump()),
        on_failure=policy.on_failure,
    )
    _check_needs(file, plan)
    try:
        plan.calibrator.check(tuple(s.name for s in signals), _stages(policy))
    except ConfigError as error:
        raise type(error)(str(error), where=file.where("calibrator")) from error
    world = World(upstreams, retrievers, {name: u.timeout for name, u in policy.upstreams.items()})
    return Gateway(policy, plan, world, fingerprints(policy, plan, world))


def fingerprints(policy: Policy, plan: Plan, world: World) -> dict[str, str]:
    """What is running, by hash: what a certificate is held against."""
    running = {"policy": policy.fingerprint, "calibrator": plan.calibrator.fingerprint}
    running |= {f"upstream:{name}": world.upstreams[name].fingerprint for name in policy.ladder}
    if policy.routes.retrieve:
        name = policy.routes.retrieve.prompt
        running[f"prompt:{name}"] = prompts.load(name).fingerprint
        running["retriever"] = world.retrievers[policy.routes.retrieve.retriever].fingerprint
    return running


# --- names → objects ---------------------------------------------------------------------------------------------


@cache
def _installed(group: str) -> Mapping[str, Any]:
    """What other packages offer under an entry-point group, by name."""
    found: dict[str, Any] = {}
    for point in entry_points(group=group):
        if point.name in found:
            raise ConfigError(f"two installed packages offer {point.name!r} in the group {group!r}")
        found[point.name] = point.load()
    return found


def _table(group: str, built_in: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(built_in)
    for name, thing in _installed(group).items():
        if name in table:
            raise ConfigError(f"an installed package offers {name!r} in the group {group!r}, which gate has itself")
        table[name] = thing
    return table


def _look_up(table: Mapping[str, Any], kind: str, name: str, where: str) -> Any:
    if name not in table:
        raise UnknownName(kind, name, table, where=where)
    return table[name]


def _upstream(file: PolicyFile, name: str) -> Upstream:
    settings = file.policy.upstreams[name]
    table = _table("gate.upstreams", ((kind.kind, kind) for kind in UPSTREAMS))
    made = _look_up(table, "upstream kind", settings.kind, file.where("upstreams", name, "kind"))
    extra = dict(settings.model_extra or {})
    if isinstance(extra.get("path"), str):  # paths in a policy are relative to the policy
        extra["path"] = str(file.path.parent / extra["path"])
    checked = options(file, made.Options, extra, "upstreams", name)
    try:
        return cast("Upstream", made.from_options(name, checked, Price(**settings.price.model_dump())))
    except ConfigError as error:
        if error.where:
            raise
        raise ConfigError(str(error), where=file.where("upstreams", name)) from error


def _source(file: PolicyFile, name: str, *place: str | int) -> EvidenceSource:
    policy = file.policy
    built_in: dict[str, Callable[[], EvidenceSource]] = {
        "draft": DraftSource,
        "passages": PassagesSource,
        "samples": lambda: SamplesSource(policy.samples.n, policy.samples.temperature, policy.samples.seed),
        "meanings": lambda: MeaningsSource(policy.meanings.judge, policy.meanings.similarity),
    }
    made = _look_up(_table("gate.evidence", built_in.items()), "evidence", name, file.where(*place))
    return cast("EvidenceSource", made())


def _signals(file: PolicyFile) -> tuple[Signal, ...]:
    table = _table("gate.signals", ((signal.name, signal) for signal in SIGNALS))
    return tuple(
        _look_up(table, "signal", name, file.where("signals", place)) for place, name in enumerate(file.policy.signals)
    )


def _retriever(file: PolicyFile, name: str) -> Retriever:
    settings = file.policy.retrievers[name]
    if settings.kind == "pocket_world":
        return Bm25Retriever.of_pocket_world(name)
    return Bm25Retriever.of_file(name, file.path.parent / str(settings.path))


def _calibrator(file: PolicyFile) -> Calibrator:
    name = file.policy.calibrator
    if name == VoteShareCalibrator.kind:
        return VoteShareCalibrator(file.policy.samples.n)
    path = file.path.parent / name
    if not path.is_file():
        beside = [p.name for p in file.path.parent.glob("*.calibrator.json")]
        raise UnknownName("calibrator", name, [*beside, VoteShareCalibrator.kind], where=file.where("calibrator"))
    return LogisticCalibrator.load(path)


def _routes(
    file: PolicyFile, upstreams: Mapping[str, Upstream], retrievers: Mapping[str, Retriever]
) -> dict[Action, Route]:
    policy = file.policy
    routes: list[Route] = [AnswerRoute(), AbstainRoute(policy.abstain)]
    if policy.routes.retrieve:
        settings = policy.routes.retrieve
        if settings.retriever not in retrievers:
            where = file.where("routes", "retrieve", "retriever")
            raise UnknownName("retriever", settings.retriever, retrievers, where=where)
        routes.append(RetrieveRoute(settings.retriever, _prompt(file, settings.prompt), settings.k))
    if policy.routes.escalate and len(policy.ladder) > 1:
        routes.append(EscalateRoute(policy.ladder, {name: upstreams[name].profile for name in policy.ladder}))
    return {route.action: route for route in routes}


def _prompt(file: PolicyFile, name: str) -> prompts.Prompt:
    try:
        return prompts.load(name)
    except UnknownName as error:
        raise ConfigError(str(error), where=file.where("routes", "retrieve", "prompt")) from error


def _check_needs(file: PolicyFile, plan: Plan) -> None:
    """Every source and signal must find what it needs gathered by some tier, in order."""
    provided: set[type] = set()
    for tier, sources in enumerate(plan.tiers):
        for place, source in enumerate(sources):
            for need in set(source.needs) - provided:
                where = file.where("tiers", tier, place)
                raise ConfigError(f"{source.name!r} needs {need.__name__.lower()!r} gathered before it", where=where)
            provided.add(source.provides)
    for place, signal in enumerate(plan.signals):
        for need in set(signal.needs) - provided:
            where = file.where("signals", place)
            what = need.__name__.lower()
            raise ConfigError(f"the signal {signal.name!r} needs {what!r}, which no tier gathers", where=where)


def _stages(policy: Policy) -> tuple[Stage, ...]:
    """Every stage a question can be decided in under this policy."""
    rungs = policy.ladder if policy.routes.escalate else policy.ladder[:1]
    books = (False, True) if policy.routes.retrieve else (False,)
    return tuple(
        Stage(name, passages, tier) for name in rungs for passages in books for tier in range(len(policy.tiers))
    )
