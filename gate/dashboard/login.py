"""The one page that is shown to anybody: it takes a key, says nothing of what is served, and slows down guessing."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable

import anyio
from starlette.requests import Request
from starlette.responses import Response

from gate.dashboard.access import COOKIE, Visit
from gate.dashboard.attempts import Attempts
from gate.dashboard.forms import read_form, text_of, way_back
from gate.dashboard.origin import Origin
from gate.dashboard.pages import Pages, onward
from gate.dashboard.serving import Viewer
from gate.dashboard.sessions import LIFETIME, Sessions
from gate.errors import RequestError

BEFORE = "gate_login"
"""The cookie of a browser that has no session yet: its login form is bound to it."""
_PATH = "/dashboard"


class Login:
    """Begins and ends sessions. ``authenticate`` may block: it is called on a thread."""

    def __init__(
        self,
        authenticate: Callable[[str], Viewer | None],
        sessions: Sessions,
        attempts: Attempts,
        pages: Pages,
        origin: Origin,
    ) -> None:
        self._authenticate, self._sessions, self._attempts = authenticate, sessions, attempts
        self._pages, self._origin = pages, origin

    async def show(self, request: Request) -> Response:
        return self._form(request, way_back(request.query_params.get("next", "")))

    async def begin(self, request: Request) -> Response:
        """Checks a key. Whatever is wrong with it, the answer is the same."""
        address = self._origin.address(request)
        back = _PATH
        try:
            if not self._origin.ours(request):
                raise RequestError("This form was not sent from a page of this server.", status=403)
            fields = await read_form(request)
            back = way_back(fields.get("next", ""))
            before = request.cookies.get(BEFORE, "")
            if not before or not self._sessions.made(fields.get("token", ""), f"login {before}"):
                raise RequestError("This form is too old, or your browser keeps no cookies. Try again.", status=403)
            key = text_of(fields, "key", 1024)
        except RequestError as error:
            return self._form(request, back, str(error), error.status)
        wait = self._attempts.wait(address)
        if wait > 0:
            minutes = math.ceil(wait / 60)
            said = f"Too many attempts from your address. Try again in {minutes} minute{'s' if minutes > 1 else ''}."
            refused = self._form(request, back, said, 429)
            refused.headers["retry-after"] = str(math.ceil(wait))
            return refused
        viewer = await anyio.to_thread.run_sync(self._authenticate, key) if key else None
        if viewer is None or not viewer.welcome:
            self._attempts.failed(address)
            return self._form(request, back, "This key does not open the dashboard.", 403)
        reply = onward(back)
        self._set(request, reply, COOKIE, self._sessions.begin(viewer.name, viewer.mark), LIFETIME)
        reply.delete_cookie(BEFORE, path=_PATH)
        return reply

    async def end(self, visit: Visit) -> Response:
        self._sessions.end(visit.session)
        reply = onward("/dashboard/login")
        reply.delete_cookie(COOKIE, path=_PATH)
        return reply

    def _form(self, request: Request, back: str, said: str = "", status: int = 200) -> Response:
        before = request.cookies.get(BEFORE, "")
        fresh = before if 16 <= len(before) <= 64 else secrets.token_urlsafe(18)
        token = self._sessions.token(f"login {fresh}")
        reply = self._pages.page("login", status, visit=None, token=token, back=back, said=said)
        if fresh != before:
            self._set(request, reply, BEFORE, fresh, 3600)
        return reply

    def _set(self, request: Request, reply: Response, name: str, value: str, seconds: int) -> None:
        secure = self._origin.https(request)
        reply.set_cookie(name, value, seconds, path=_PATH, secure=secure, httponly=True, samesite="strict")
