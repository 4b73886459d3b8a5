"""From what a policy says of its routes to the routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gate import prompts
from gate.errors import ConfigError, UnknownName
from gate.evidence import ClosedBookSource, DraftSource
from gate.evidence.rivals import Contest, Measure
from gate.policy import PolicyFile
from gate.ports import Retriever, Route, Upstream, Uses
from gate.route_settings import ClarifySettings
from gate.routes import AbstainRoute, AnswerRoute, ClarifyRoute, EscalateRoute, RetrieveRoute
from gate.signals.token import logprob_mean, self_certainty_mean
from gate.types import Action

_SURENESS: Mapping[str, Measure] = {"mean_logprob": logprob_mean, "self_certainty": self_certainty_mean}


def routes_of(
    file: PolicyFile, upstreams: Mapping[str, Upstream], retrievers: Mapping[str, Retriever], drafting: DraftSource
) -> dict[Action, Route]:
    policy = file.policy
    routes: list[Route] = [AnswerRoute(), _abstain(file, people=policy.people)]
    if policy.routes.retrieve:
        settings = policy.routes.retrieve
        for name in settings.retriever:
            if name not in retrievers:
                raise UnknownName("retriever", name, retrievers, where=file.where("routes", "retrieve", "retriever"))
        first, *others = settings.retriever
        contest = Contest(drafting, _SURENESS[settings.by]) if others else None
        embedders = {name: retrievers[name].embedder for name in settings.retriever if retrievers[name].embedder}
        prompt = _prompt(file, "retrieve", settings.prompt)
        routes.append(RetrieveRoute(first, prompt, settings.k, tuple(others), contest, embedders, fetch=settings.fetch))
    if policy.routes.escalate and len(policy.ladder) > 1:
        routes.append(EscalateRoute(policy.ladder, {name: upstreams[name].profile for name in policy.ladder}))
    if policy.routes.clarify:
        routes.append(_clarify(file, policy.routes.clarify, upstreams))
    return {route.action: route for route in routes}


def arbitrates(file: PolicyFile) -> bool:
    """Whether memory is heard beside passages. Raises `ConfigError` where no tier asks it."""
    retrieve = file.policy.routes.retrieve
    if retrieve is None or not retrieve.arbitrate:
        return False
    if not any(ClosedBookSource.name in tier for tier in file.policy.tiers):
        raise ConfigError(
            f"'arbitrate' needs {ClosedBookSource.name!r} in some tier, to know what memory says",
            where=file.where("routes", "retrieve", "arbitrate"),
        )
    return True


def _abstain(file: PolicyFile, people: Iterable[str]) -> AbstainRoute:
    settings = file.policy.abstain
    if settings.person is not None and settings.person not in (known := set(people)):
        raise UnknownName("person", settings.person, known, where=file.where("abstain", "person"))
    return AbstainRoute(**dict(settings))


def _clarify(file: PolicyFile, settings: ClarifySettings, upstreams: Mapping[str, Upstream]) -> ClarifyRoute:
    name = settings.upstream
    if name is not None and name not in upstreams:
        raise UnknownName("upstream", name, upstreams, where=file.where("routes", "clarify", "upstream"))
    prompt = _prompt(file, "clarify", settings.prompt) if settings.prompt else None
    if prompt is not None and prompt.variables != {"question", "readings"}:
        needs = f"a prompt to ask back with takes 'question' and 'readings'; {prompt.name!r} does not"
        raise ConfigError(needs, where=file.where("routes", "clarify", "prompt"))
    return ClarifyRoute(prompt, name, settings.text, file.policy.abstain.language)


def clarifies_with(settings: ClarifySettings) -> Uses:
    return Uses(
        upstreams=(settings.upstream,) if settings.upstream else (),
        prompts=(settings.prompt,) if settings.prompt else (),
    )


def _prompt(file: PolicyFile, route: str, name: str) -> prompts.Prompt:
    try:
        return prompts.load(name)
    except UnknownName as error:
        raise ConfigError(str(error), where=file.where("routes", route, "prompt")) from error
