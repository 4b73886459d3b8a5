"""The only place where names become objects: a policy file in, a gateway ready to run out.

Third parties add signals, evidence sources, upstreams, embedders, judges of entailment, retrievers and ways to reach
people by entry points in the groups ``gate.signals``, ``gate.evidence``, ``gate.upstreams``, ``gate.embedders``,
``gate.judges``, ``gate.retrievers`` and ``gate.people``, which `gate.assemble_endpoints` reads; a name that stands
twice is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from gate import __version__, prompts
from gate.assemble_endpoints import endpoints, look_up, table_of
from gate.assemble_prefix import prefix_calibrator
from gate.assemble_routes import arbitrates, clarifies_with, routes_of
from gate.calibration import LogisticCalibrator, VoteShareCalibrator
from gate.drivers import World
from gate.drivers.health import healths
from gate.embedders import EMBEDDERS
from gate.endpoint_settings import FallibleSettings
from gate.errors import ConfigError, StaleCalibrator, UnknownName
from gate.evidence import SOURCES, ClosedBookSource, DraftSource, HiddenStatesSource, Samples, SamplesSource
from gate.evidence.probes import Probes
from gate.gateway import Gateway
from gate.judges import JUDGES
from gate.people import PEOPLE
from gate.pipeline import Plan, stages
from gate.policy import Policy, PolicyFile, find, options, read
from gate.ports import (
    Calibrator,
    Embedder,
    EntailmentJudge,
    EvidenceSource,
    Person,
    Price,
    Retriever,
    Signal,
    Upstream,
    is_local,
)
from gate.retrieval import RETRIEVERS, IndexRetriever
from gate.rules import ExpectedCostRule
from gate.signals import SIGNALS
from gate.types import Budget, Stage
from gate.upstreams import UPSTREAMS, CallerUpstream

log = logging.getLogger("gate.assemble")


def load_gateway(name_or_path: str) -> Gateway:
    """The gateway for a policy: a shipped one by name, or any file by path. Raises `ConfigError`."""
    return assemble(read(find(name_or_path)))


def load_answering(name_or_path: str) -> Gateway:
    """`load_gateway`, for who brings no answers along. Raises `ConfigError` where the first of the ladder has none."""
    file = read(find(name_or_path))
    first = file.policy.ladder[0]
    if first in file.policy.upstreams and file.policy.upstreams[first].kind == CallerUpstream.kind:
        said = f"the ladder begins with {first!r}, of kind 'caller', which cannot be asked"
        brought = "the policy judges answers that are brought along, with gate.guard or Gate.judge"
        raise ConfigError(f"{said}: {brought}", where=file.where("ladder", 0))
    return assemble(file)


def assemble(file: PolicyFile, calibrator: Calibrator | None = None, probes: Probes | None = None) -> Gateway:
    """Build everything a policy names. Raises `ConfigError` with the line of what cannot be built.

    A ``calibrator`` or ``probes`` given here run in the place of those the policy names, which need not be there then.
    With a ``calibrator`` nothing is streamed: that of the growing text need not be there either.
    """
    policy = file.policy
    upstreams: dict[str, Upstream] = endpoints(file, "upstreams", UPSTREAMS)
    embedders: dict[str, Embedder] = endpoints(file, "embedders", EMBEDDERS)
    judges: dict[str, EntailmentJudge] = endpoints(file, "judges", JUDGES)
    for place, name in enumerate(policy.ladder):
        if name not in upstreams:
            raise UnknownName("upstream", name, upstreams, where=file.where("ladder", place))
    rounds = {stage.round_key for name in policy.ladder for stage in (Stage(name), Stage(name, passages=True))}
    for name in policy.rule.answer_at_in:
        if name not in rounds:
            raise UnknownName("round", name, rounds, where=file.where("rule", "answer_at_in", name))
    tiers, signals = _tiers(file, probes), _signals(file)
    retrievers: dict[str, Retriever] = endpoints(file, "retrievers", RETRIEVERS)
    people: dict[str, Person] = endpoints(file, "people", PEOPLE)
    for name, retriever in retrievers.items():
        if retriever.embedder and retriever.embedder not in embedders:
            where = file.where("retrievers", name, "embedder")
            raise UnknownName("embedder", retriever.embedder, embedders, where=where)
        if retriever.embedder and isinstance(retriever, IndexRetriever):
            retriever.check_embedder(embedders[retriever.embedder].fingerprint)
    plan = Plan(
        ladder=policy.ladder,
        profiles={name: upstreams[name].profile for name in policy.ladder},
        tiers=tiers,
        signals=signals,
        calibrator=calibrator or _calibrator(file, tiers),
        rule=policy.rule,
        routes=routes_of(file, upstreams, retrievers, cast("DraftSource", tiers[0][0])),
        budget=Budget(**dict(policy.budget)),
        prices=_prices(upstreams, embedders, judges),
        on_failure=policy.on_failure,
        arbitrate=arbitrates(file),
        clarify_below=policy.routes.clarify.below if policy.routes.clarify else {},
        retrieve_first=policy.routes.retrieve.first if policy.routes.retrieve else "never",
        abstain_when_void=policy.certificate is not None and policy.on_void == "abstain",
    )
    _check_needs(file, plan)
    _check_priced(file, upstreams)
    try:
        plan.calibrator.check(tuple(s.name for s in signals), _stages(policy))
    except ConfigError as error:
        raise type(error)(str(error), where=file.where("calibrator")) from error
    _check_prices(file, plan)
    settings = _by_name(policy)
    timeouts = {name: endpoint.timeout for name, endpoint in settings.items()}
    timeouts |= {f"person:{name}": person.timeout for name, person in policy.people.items()}
    world = World(upstreams, retrievers, timeouts, embedders, judges, people)
    world.health = healths(settings, policy.budget.seconds)
    _check_uses(file, plan, world)
    gateway = Gateway(policy, plan, world, fingerprints(policy, plan, world))
    if calibrator is None:
        gateway.prefix = prefix_calibrator(file, gateway.running)
    _say_void(gateway)
    return gateway


def _by_name(policy: Policy) -> dict[str, FallibleSettings]:
    """What is said of endpoints, by the names of `World.timeouts`."""
    retrievers = {f"retriever:{name}": retriever for name, retriever in policy.retrievers.items()}
    return {**policy.upstreams, **policy.embedders, **policy.judges, **retrievers}


def _say_void(gateway: Gateway) -> None:
    if gateway.void:
        void, does = "; ".join(gateway.void), "answers go out uncertified"
        if gateway.policy.on_void == "abstain":
            does = "every question is abstained from"
        log.warning("the certificate of the policy %r is void (%s): %s", gateway.name, void, does)


def fingerprints(policy: Policy, plan: Plan, world: World) -> dict[str, str]:
    """What is running, by hash: what a certificate is held against."""
    running = {"gate": __version__, "policy": policy.fingerprint, "calibrator": plan.calibrator.fingerprint}
    used = [source.uses for tier in plan.tiers for source in tier]
    used += [clarifies_with(policy.routes.clarify)] if policy.routes.clarify else []
    asked = {*policy.ladder, *(name for uses in used for name in uses.upstreams)}
    running |= {f"upstream:{name}": world.upstreams[name].fingerprint for name in asked}
    for uses in used:
        running |= {f"embedder:{name}": world.embedders[name].fingerprint for name in uses.embedders}
        running |= {f"judge:{name}": world.judges[name].fingerprint for name in uses.judges}
        running |= {f"prompt:{name}": prompts.load(name).fingerprint for name in uses.prompts}
        running |= {f"file:{Path(path).name}": fingerprint for path, fingerprint in uses.files}
    if policy.routes.retrieve:
        name = policy.routes.retrieve.prompt
        running[f"prompt:{name}"] = prompts.load(name).fingerprint
        searched = [world.retrievers[retriever] for retriever in policy.routes.retrieve.retriever]
        running["retriever"] = "+".join(retriever.fingerprint for retriever in searched)
        embedders = {retriever.embedder for retriever in searched if retriever.embedder}
        running |= {f"embedder:{embedder}": world.embedders[embedder].fingerprint for embedder in embedders}
    return running


def _prices(
    upstreams: Mapping[str, Upstream], embedders: Mapping[str, Embedder], judges: Mapping[str, EntailmentJudge]
) -> dict[str, Price]:
    """Of all whose tokens count. Embedders and judges in this process read for nothing."""
    remote = (endpoint for endpoint in (*embedders.values(), *judges.values()) if not is_local(endpoint))
    return {endpoint.name: endpoint.price for endpoint in (*upstreams.values(), *remote)}


# --- names → objects ---------------------------------------------------------------------------------------------


def _tiers(file: PolicyFile, probes: Probes | None) -> tuple[tuple[EvidenceSource, ...], ...]:
    tiers = tuple(
        tuple(_source(file, probes, name, "tiers", tier, place) for place, name in enumerate(names))
        for tier, names in enumerate(file.policy.tiers)
    )
    _check_again(file, tiers)
    named = {source.name for tier in tiers for source in tier}
    for name in file.policy.evidence:
        if name not in named:
            raise UnknownName("evidence in the tiers", name, named, where=file.where("evidence", name))
    return tiers


def _source(file: PolicyFile, probes: Probes | None, name: str, *place: str | int) -> EvidenceSource:
    table = table_of("gate.evidence", ((source.name, source) for source in SOURCES))
    made = look_up(table, "evidence", name, file.where(*place))
    values = dict(file.policy.evidence.get(name, {}))
    if made is DraftSource and any(HiddenStatesSource.name in tier for tier in file.policy.tiers):
        values = {"states": True} | values
    if made is HiddenStatesSource and probes is not None:
        values |= {"fitted": probes}
    if made is SamplesSource and isinstance(values.get("n"), list):
        values |= _step(file, values, int(place[1]))
    if isinstance(values.get("path"), str):  # relative to the policy, like those of endpoints
        values["path"] = str(file.path.parent / values["path"])
    if ("evidence", name) in file.lines.of:  # else it stands in the tiers alone
        place = ("evidence", name)
    try:
        return cast("EvidenceSource", options(file, made, values, *place, of=f"the evidence {name!r}"))
    except ConfigError as error:
        if type(error) is not ConfigError or error.where.startswith(f"{file.path}:"):
            raise
        raise ConfigError(f"the evidence {name!r}: {error}", where=file.where(*place)) from error


def _step(file: PolicyFile, options: Mapping[str, Any], tier: int) -> dict[str, int]:
    """What the samples of a tier draw, where the policy lists how many more each of several tiers does."""
    listed, where = options["n"], file.where("evidence", SamplesSource.name, "n")
    tiers = [place for place, names in enumerate(file.policy.tiers) if SamplesSource.name in names]
    if len(listed) != len(tiers) or not all(type(n) is int and n > 1 for n in listed):
        raise ConfigError(
            f"'n' lists a number of 2 or more for each tier with 'samples' (there are {len(tiers)})", where=where
        )
    if options.get("stop", "none") != "none":
        raise ConfigError("samples in several tiers stop when p is high enough: 'stop' is for one tier", where=where)
    place = tiers.index(tier)
    return {"n": listed[place], "before": sum(listed[:place])}


def _check_again(file: PolicyFile, tiers: tuple[tuple[EvidenceSource, ...], ...]) -> None:
    """Where more samples are drawn, all that was read off the first ones must be gathered again in the same tier."""
    drawn = False
    for tier, sources in enumerate(tiers):
        names = {source.name for source in sources}
        if drawn and SamplesSource.name in names:
            for source in (source for earlier in tiers[:tier] for source in earlier):
                if Samples in source.needs and source.name not in names:
                    reason = f"{source.name!r} must stand here again: there are more samples to read"
                    raise ConfigError(reason, where=file.where("tiers", tier))
        drawn = drawn or SamplesSource.name in names


def _signals(file: PolicyFile) -> tuple[Signal, ...]:
    table = table_of("gate.signals", ((signal.name, signal) for signal in SIGNALS))
    return tuple(
        look_up(table, "signal", name, file.where("signals", place)) for place, name in enumerate(file.policy.signals)
    )


def _calibrator(file: PolicyFile, tiers: tuple[tuple[EvidenceSource, ...], ...]) -> Calibrator:
    name = file.policy.calibrator
    if name == VoteShareCalibrator.kind:
        drawn = [source for tier in tiers for source in tier if isinstance(source, SamplesSource)]
        if not drawn:
            raise ConfigError(f"{name!r} needs 'samples' in some tier", where=file.where("calibrator"))
        most = max(source.unanimous for source in drawn)
        fewest = min(source.fewest for source in drawn) if any(source.varies for source in drawn) else None
        made = VoteShareCalibrator(most, fewest)
        if made.highest < min(file.policy.rule.threshold(stage) for stage in _stages(file.policy)):
            raise ConfigError(
                f"{most} samples that all agree make p = {made.highest:.3f}: nothing would ever be answered",
                where=file.where("rule", "answer_at"),
            )
        return made
    path = file.path.parent / name
    if not path.is_file():
        beside = [p.name for p in file.path.parent.glob("*.calibrator.json")]
        raise UnknownName("calibrator", name, [*beside, VoteShareCalibrator.kind], where=file.where("calibrator"))
    return LogisticCalibrator.load(path)


def _check_priced(file: PolicyFile, upstreams: Mapping[str, Upstream]) -> None:
    """A budget of money cannot hold where nobody knows what is charged."""
    unknown = [name for name, upstream in upstreams.items() if not getattr(upstream, "priced", True)]
    if unknown and file.policy.budget.money is not None:
        said = f"nobody knows what {unknown[0]!r} charges: without its 'price' a budget of money cannot hold"
        raise ConfigError(said, where=file.where("upstreams", unknown[0]))


def _check_prices(file: PolicyFile, plan: Plan) -> None:
    """What the ways on come to was learned for certain prices of a mistake and of an abstention."""
    rule, ways = file.policy.rule, getattr(plan.calibrator, "ways", None)
    if not isinstance(rule, ExpectedCostRule) or ways is None:
        return
    for name in ("wrong", "abstain"):
        if getattr(rule, name) != getattr(ways, name):
            said = f"the calibrator learned what ways on cost where {name!r} is {getattr(ways, name):g}: tune again"
            raise StaleCalibrator(said, where=file.where("rule", name))
    for name, charged in ways.prices.items():
        price = plan.prices.get(name)
        if price and (price.prompt, price.completion) != charged:
            was = f"${charged[0]:g} and ${charged[1]:g} a million tokens"
            said = f"the calibrator learned what ways on cost where {name!r} charged {was}: tune again"
            raise StaleCalibrator(said, where=file.where("upstreams", name, "price"))


def _check_hedges(file: PolicyFile, world: World) -> None:
    """Only servers are asked twice at once."""
    for section in ("upstreams", "embedders", "judges", "retrievers"):
        for name, settings in getattr(file.policy, section).items():
            if settings.hedge is not None and is_local(getattr(world, section)[name]):
                said = f"{name!r} is no server that gate itself asks over HTTP: leave 'hedge' out"
                raise ConfigError(said, where=file.where(section, name, "hedge"))


def _check_needs(file: PolicyFile, plan: Plan) -> None:
    """Every source and signal must find what it needs gathered by some tier, in order."""
    provided: set[type] = set()
    for tier, sources in enumerate(plan.tiers):
        for place, source in enumerate(sources):
            for need in set(source.needs) - provided:
                where = file.where("tiers", tier, place)
                raise ConfigError(f"{source.name!r} needs {_source_of(need)!r} gathered before it", where=where)
            provided.add(source.provides)
    for place, signal in enumerate(plan.signals):
        for need in set(signal.needs) - provided:
            where = file.where("signals", place)
            what = _source_of(need)
            raise ConfigError(f"the signal {signal.name!r} needs {what!r}, which no tier gathers", where=where)


def _source_of(need: type) -> str:
    """The name that a tier has for what gathers a fact."""
    return next((source.name for source in SOURCES if source.provides is need), need.__name__)


def _check_uses(file: PolicyFile, plan: Plan, world: World) -> None:
    """Every endpoint, prompt and file a source asks for by name must be there, and can be asked as the policy says."""
    _check_hedges(file, world)
    for source in (source for tier in plan.tiers for source in tier):
        where = file.where("evidence", source.name)
        try:
            uses = source.uses
        except ConfigError as error:  # a file of its own that cannot be used
            raise ConfigError(f"the evidence {source.name!r}: {error}", where=where) from error
        for kind, wanted, known in (
            ("upstream", uses.upstreams, world.upstreams),
            ("embedder", uses.embedders, world.embedders),
            ("judge", uses.judges, world.judges),
        ):
            for name in wanted:
                if name not in known:
                    raise UnknownName(kind, name, known, where=where)
        for name in uses.read_inside:
            if not world.upstreams[name].profile.states:
                raise ConfigError(f"the upstream {name!r} cannot be read inside: it gives no states", where=where)
        for name, fingerprint in uses.fitted_with:
            if (running := world.embedders[name].fingerprint) != fingerprint:
                reason = f"its file was fitted with the embedder {fingerprint!r}, but {name!r} is {running!r}"
                raise ConfigError(reason, where=where)
        for name in uses.prompts:
            try:
                prompts.load(name)
            except ConfigError as error:
                raise ConfigError(str(error), where=where) from error


def _stages(policy: Policy) -> tuple[Stage, ...]:
    """Every stage a question can be decided in under this policy."""
    rungs = policy.ladder if policy.routes.escalate else policy.ladder[:1]
    retrieve = policy.routes.retrieve
    memory = next((tier for tier, names in enumerate(policy.tiers) if ClosedBookSource.name in names), None)
    return stages(
        rungs,
        passages=retrieve is not None,
        tiers=len(policy.tiers),
        memory_from=memory if retrieve and retrieve.arbitrate else None,
    )
