"""Where a request came from: its page, its scheme, its address. What a front server adds is believed only when told."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class Origin:
    """``trust_forwarded``: whether a front server that we trust sets X-Forwarded-For, -Proto and -Host."""

    trust_forwarded: bool = False

    def ours(self, request: Request) -> bool:
        """Whether a form was sent by a page of this host. Every browser says so of a POST, in ``Origin``."""
        try:
            said = urlsplit(request.headers.get("origin", ""))
        except ValueError:
            return False
        return said.scheme in ("http", "https") and said.netloc.lower() == self._host(request).lower() != ""

    def https(self, request: Request) -> bool:
        forwarded = self._last(request, "x-forwarded-proto")
        return (forwarded or request.url.scheme) == "https"

    def address(self, request: Request) -> str:
        forwarded = self._last(request, "x-forwarded-for")
        return forwarded or (request.client.host if request.client else "")

    def _host(self, request: Request) -> str:
        return self._last(request, "x-forwarded-host") or request.headers.get("host", "")

    def _last(self, request: Request, header: str) -> str:
        """What the nearest front server said: earlier parts are the client's own."""
        return request.headers.get(header, "").rpartition(",")[2].strip() if self.trust_forwarded else ""
