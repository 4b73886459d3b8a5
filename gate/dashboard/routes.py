"""The dashboard's routes, to be mounted by the application: every page, who may see it, and what it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gate.dashboard import charts
from gate.dashboard.access import Access, Endpoint, Visit
from gate.dashboard.attempts import Attempts
from gate.dashboard.decisions import PERIODS, SOUGHT_ACTIONS, Filters, listed, own
from gate.dashboard.explained import Explained, explained
from gate.dashboard.forms import id_of, one_of, text_of
from gate.dashboard.login import Login
from gate.dashboard.origin import Origin
from gate.dashboard.overview import overview
from gate.dashboard.pages import Pages, onward, static
from gate.dashboard.quality import Quality, quality
from gate.dashboard.review import label_of, queue, reviewable
from gate.dashboard.serving import LivePolicy, Serving, Viewer
from gate.dashboard.sessions import Sessions
from gate.dashboard.spend import DAYS, spending
from gate.errors import RequestError
from gate.log.kept import DecisionReader, Kept, Label

_on_thread = anyio.to_thread.run_sync


class Desk:
    """The pages that a session is needed for. What asks the log does so on a thread."""

    def __init__(
        self,
        reader: DecisionReader | None,
        serving: Serving,
        label: Callable[[Label], None],
        pages: Pages,
        now: Callable[[], float],
    ) -> None:
        self._reader, self._serving, self._label, self._pages, self._now = reader, serving, label, pages, now

    async def home(self, visit: Visit) -> Response:
        if not visit.viewer.admin:
            return onward("/dashboard/review")
        policies, now = self._serving.policies(), self._now()
        cards = await _on_thread(overview, self._reader, policies, now)
        return self._page(
            visit, "overview", cards=cards, health=self._serving.log_health(), logged=self._reader is not None
        )

    async def decisions(self, visit: Visit) -> Response:
        return await self._list(visit, "decisions")

    async def rows(self, visit: Visit) -> Response:
        """The list alone, for the script that refreshes it."""
        return await self._list(visit, "rows_alone")

    async def _list(self, visit: Visit, template: str) -> Response:
        if self._reader is None:
            return self._no_log(visit)
        filters = Filters.read(visit.fields)
        found = await _on_thread(listed, self._reader, filters, visit.viewer, self._now())
        policies = [live.name for live in self._serving.policies() if visit.viewer.sees(live.name)]
        choices = {"policies": policies, "actions": SOUGHT_ACTIONS, "periods": tuple(PERIODS)}
        return self._page(visit, template, filters=filters, found=found, **choices)

    async def decision(self, visit: Visit) -> Response:
        if self._reader is None:
            return self._no_log(visit)
        shown = await _on_thread(_explain, self._reader, self._id(visit), visit.viewer)
        return self._page(visit, "decision", shown=shown, kept=shown.kept, saved=visit.fields.get("saved") == "1")

    async def quality(self, visit: Visit) -> Response:
        if self._reader is None:
            return self._no_log(visit)
        policies = self._serving.policies()
        name = text_of(visit.fields, "policy", 200) or (policies[0].name if policies else "")
        live = next((one for one in policies if one.name == name), None)
        if live is None:
            raise RequestError("no such policy is live", status=404)
        counted = one_of(visit.fields, "labels", ("drawn", "all"), "drawn")
        found = await _on_thread(_quality, self._reader, live, counted)
        drawn = {
            "reliability": charts.reliability(found.bins),
            "curve": charts.risk_coverage(found, live.max_error),
        }
        return self._page(visit, "quality", live=live, policies=policies, found=found, counted=counted, **drawn)

    async def spend(self, visit: Visit) -> Response:
        if self._reader is None:
            return self._no_log(visit)
        days = one_of(visit.fields, "days", DAYS, DAYS[0])
        found = await _on_thread(spending, self._reader, int(days), self._now())
        heights = charts.columns([day.money for day in found.total])
        return self._page(visit, "spend", found=found, days=days, choices=DAYS, heights=heights, columns=charts.columns)

    async def review(self, visit: Visit) -> Response:
        """One that waits, and those after it; with an id in the path that one, labelled or not."""
        if self._reader is None:
            return self._no_log(visit)
        asked, after = visit.request.path_params.get("id"), id_of(visit.fields.get("after", ""))
        waiting = await _on_thread(queue, self._reader, visit.viewer, after)
        shown = waiting.shown
        if asked is not None:
            shown = await _on_thread(_found, reviewable, self._reader, self._id(visit), visit.viewer)
        saved = id_of(visit.fields.get("saved", ""))
        health = self._serving.log_health()
        return self._page(visit, "review", queue=waiting, kept=shown, saved=saved, keep=health.keep if health else "")

    async def judge(self, visit: Visit) -> Response:
        """Takes a label from the queue or from a decision's page, and leads back to where it was given."""
        if self._reader is None:
            return self._no_log(visit)
        kept = await _on_thread(_found, reviewable, self._reader, self._id(visit), visit.viewer)
        await _on_thread(self._label, label_of(kept, visit.fields, visit.viewer, self._now()))
        if visit.fields.get("from") == "decision":
            return onward(f"/dashboard/decisions/{kept.id}?saved=1#label")
        return onward(f"/dashboard/review?after={kept.id}&saved={kept.id}")

    async def nothing(self, visit: Visit) -> Response:
        raise RequestError("there is no such page", status=404)

    def _id(self, visit: Visit) -> str:
        return id_of(visit.request.path_params["id"])

    def _page(self, visit: Visit, name: str, **context: Any) -> Response:
        return self._pages.page(name, visit=visit, now=self._now(), **context)

    def _no_log(self, visit: Visit) -> Response:
        return self._pages.page("no_log", visit=visit)


def dashboard_routes(
    reader: DecisionReader | None,
    serving: Serving,
    authenticate: Callable[[str], Viewer | None],
    *,
    secret: bytes,
    label: Callable[[Label], None],
    trust_forwarded: bool = False,
    now: Callable[[], float] = time.time,
) -> list[BaseRoute]:
    """Everything under /dashboard.

    ``authenticate`` takes a client key, ``label`` keeps what a person said of an answer and feeds the monitor; both may
    block and run on threads, and may raise `GateError`. Workers share ``secret``: 32 random bytes or more.
    ``trust_forwarded``: a front server that we trust sets X-Forwarded-For, -Proto and -Host. Raises `ConfigError` for
    a secret that is too short.
    """
    pages, origin, sessions = Pages(), Origin(trust_forwarded), Sessions(secret, now)
    access = Access(sessions, serving, pages, origin)
    login = Login(authenticate, sessions, Attempts(now=now), pages, origin)
    desk = Desk(reader, serving, label, pages, now)

    async def file(request: Request) -> Response:
        return static(request.path_params["name"])

    def get(path: str, endpoint: Endpoint) -> Route:
        return Route(f"/dashboard{path}", endpoint, methods=["GET"])

    def post(path: str, endpoint: Endpoint) -> Route:
        return Route(f"/dashboard{path}", endpoint, methods=["POST"])

    return [
        get("/static/{name}", file),
        get("/login", login.show),
        post("/login", login.begin),
        post("/logout", access.form(login.end)),
        get("", access.page(desk.home)),
        get("/", access.page(desk.home)),
        get("/decisions", access.page(desk.decisions)),
        get("/decisions/rows", access.page(desk.rows)),
        get("/decisions/{id}", access.page(desk.decision)),
        get("/quality", access.page(desk.quality, admin=True)),
        get("/spend", access.page(desk.spend, admin=True)),
        get("/review", access.page(desk.review)),
        get("/review/{id}", access.page(desk.review)),
        post("/review/{id}", access.form(desk.judge)),
        Route("/dashboard/{rest:path}", access.page(desk.nothing), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]


def _explain(reader: DecisionReader, decision: str, viewer: Viewer) -> Explained:
    kept = _found(own, reader, decision, viewer)
    return explained(kept, reader.trace(decision))


def _quality(reader: DecisionReader, live: LivePolicy, counted: str) -> Quality:
    audited = reader.audited(live.name, live.fingerprint)
    return quality(audited, live.max_error, live.confidence, "all" if counted == "all" else "drawn")


def _found(
    find: Callable[[DecisionReader, str, Viewer], Kept | None], reader: DecisionReader, decision: str, viewer: Viewer
) -> Kept:
    """Raises `RequestError` for what is not there, or not the viewer's to see: the two look the same."""
    kept = find(reader, decision, viewer)
    if kept is None:
        raise RequestError("there is no such decision", status=404)
    return kept
