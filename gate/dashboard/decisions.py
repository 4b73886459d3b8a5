"""The list of decisions: which are asked for, and the page of them that is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from gate.dashboard.forms import id_of, number_of, one_of, text_of
from gate.dashboard.serving import Viewer
from gate.log.kept import DecisionReader, Kept, Sought

PAGE = 50
PERIODS = {"": None, "15m": 900.0, "1h": 3600.0, "24h": 86_400.0, "7d": 604_800.0}
"""Seconds back from now; None = all that is kept."""
SOUGHT_ACTIONS = ("answer", "abstain", "clarify")


@dataclass(frozen=True, slots=True)
class Filters:
    """What is asked for, as it stands in the address."""

    policy: str = ""
    action: str = ""
    key: str = ""
    period: str = ""
    before: float | None = None
    before_id: str = ""

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Filters:
        """Raises `RequestError` for what is no filter of ours."""
        return cls(
            policy=text_of(fields, "policy", 200),
            action=one_of(fields, "action", ("", *SOUGHT_ACTIONS), ""),
            key=text_of(fields, "key", 200),
            period=one_of(fields, "period", tuple(PERIODS), ""),
            before=number_of(fields, "before"),
            before_id=id_of(fields.get("before_id", "")),
        )

    def sought(self, viewer: Viewer, now: float) -> Sought:
        """What the log is asked: of another key than its own only an admin learns anything."""
        back = PERIODS[self.period]
        named = (self.key,) if self.key else None
        return Sought(
            policy=self.policy,
            action=self.action,
            keys=named if viewer.admin else (viewer.name,),
            since=None if back is None else now - back,
            before=self.before,
            before_id=self.before_id,
        )

    @property
    def any(self) -> bool:
        return bool(self.policy or self.action or self.key or self.period)

    @property
    def query(self) -> str:
        """The filters without the place in the list, as they stand in an address."""
        given = (("policy", self.policy), ("action", self.action), ("key", self.key), ("period", self.period))
        return urlencode([(name, said) for name, said in given if said])


@dataclass(frozen=True, slots=True)
class Listing:
    rows: tuple[Kept, ...]
    older: str
    """The query of the next page; "" on the last."""
    live: bool
    """Whether it is the newest page, which changes by itself."""


def listed(reader: DecisionReader, filters: Filters, viewer: Viewer, now: float) -> Listing:
    """One page of the list, the newest first. Blocks."""
    found = reader.recent(filters.sought(viewer, now), PAGE + 1)
    rows = tuple(found[:PAGE])
    older = ""
    if len(found) > PAGE:
        place = urlencode({"before": repr(rows[-1].at), "before_id": rows[-1].id})
        older = f"{filters.query}&{place}" if filters.query else place
    return Listing(rows, older, live=filters.before is None)


def own(reader: DecisionReader, decision: str, viewer: Viewer) -> Kept | None:
    """The decision, where the viewer may see it; of any other nothing is said, not even that it is there. Blocks."""
    kept = reader.find(decision)
    return kept if kept is not None and (viewer.admin or kept.key == viewer.name) else None
