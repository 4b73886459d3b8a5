"""Who may see a page: every one of them but the login goes through here."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from gate.dashboard.forms import read_form
from gate.dashboard.origin import Origin
from gate.dashboard.pages import Pages, onward
from gate.dashboard.serving import Serving, Viewer
from gate.dashboard.sessions import Session, Sessions
from gate.errors import GateError, RequestError

COOKIE = "gate_session"
LOGIN = "/dashboard/login"
log = logging.getLogger("gate.dashboard")


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of somebody who is logged in."""

    request: Request
    session: Session
    viewer: Viewer
    token: str
    """What this session's forms carry."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Of the form that was sent; of an address its parameters."""

    @property
    def path(self) -> str:
        return self.request.url.path


Page = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Access:
    """Turns pages into endpoints that only those reach who may."""

    def __init__(self, sessions: Sessions, serving: Serving, pages: Pages, origin: Origin) -> None:
        self._sessions, self._serving, self._pages, self._origin = sessions, serving, pages, origin

    def page(self, page: Page, *, admin: bool = False) -> Endpoint:
        """A page that is looked at."""

        async def endpoint(request: Request) -> Response:
            session = self._sessions.read(request.cookies.get(COOKIE))
            viewer = self._serving.viewer(session.name) if session else None
            if session is None or viewer is None or viewer.mark != session.mark:
                return onward(
                    f"{LOGIN}?next={quote(_asked_for(request), safe='')}" if request.method != "POST" else LOGIN
                )
            visit = Visit(request, session, viewer, self._sessions.token(session.id), dict(request.query_params))
            if not viewer.welcome or (admin and not viewer.admin):
                needed = "admin" if viewer.welcome else "admin or review"
                said = f"Your key {viewer.name} does not have the role that this page needs: {needed}."
                return self.message(visit, 403, "This page is not for your key", said)
            return await self._answered(page, visit)

        return endpoint

    def form(self, page: Page) -> Endpoint:
        """What a form of ours is sent to."""

        async def checked(visit: Visit) -> Response:
            if not self._origin.ours(visit.request):
                raise RequestError("this form was not sent from a page of this server", status=403)
            fields = await read_form(visit.request)
            if not self._sessions.made(fields.get("token", ""), visit.session.id):
                raise RequestError("this form is of another session; open the page again", status=403)
            return await page(Visit(visit.request, visit.session, visit.viewer, visit.token, fields))

        return self.page(checked)

    async def _answered(self, page: Page, visit: Visit) -> Response:
        try:
            return await page(visit)
        except RequestError as error:
            title = {403: "Refused", 404: "Not found"}.get(error.status, "This cannot be shown")
            about = f" ({error.param})" if error.param else ""
            return self.message(visit, error.status, title, f"{_sentence(str(error))}{about}")
        except GateError as error:
            log.warning("the dashboard cannot read or write the decision log: %s", type(error).__name__)
            said = "The server's log says why. What is served is not affected."
            return self.message(visit, 503, "The decision log cannot be used just now", said)

    def message(self, visit: Visit, status: int, title: str, said: str) -> Response:
        """A page that says one thing."""
        return self._pages.page("message", status, visit=visit, title=title, said=said)


def _asked_for(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _sentence(said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}."
