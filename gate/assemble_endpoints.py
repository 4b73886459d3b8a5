"""From the names of a policy to what they stand for: gate's own, and what other packages offer by entry points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from gate.endpoint_settings import UpstreamSettings
from gate.errors import ConfigError, UnknownName
from gate.policy import PolicyFile, options
from gate.ports import Price


@cache
def _installed(group: str) -> Mapping[str, Any]:
    """What other packages offer under an entry-point group, by name."""
    found: dict[str, Any] = {}
    for point in entry_points(group=group):
        if point.name in found:
            raise ConfigError(f"two installed packages offer {point.name!r} in the group {group!r}")
        found[point.name] = point.load()
    return found


def table_of(group: str, built_in: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """All that a name in a policy may stand for: raises `ConfigError` where one stands for two things."""
    table = dict(built_in)
    for name, thing in _installed(group).items():
        if name in table:
            raise ConfigError(f"an installed package offers {name!r} in the group {group!r}, which gate has itself")
        table[name] = thing
    return table


def look_up(table: Mapping[str, Any], kind: str, name: str, where: str) -> Any:
    """What a name stands for. Raises `UnknownName`, with the nearest that does."""
    if name not in table:
        raise UnknownName(kind, name, table, where=where)
    return table[name]


def endpoints(file: PolicyFile, section: str, kinds: Iterable[Any]) -> dict[str, Any]:
    """The objects of one section of endpoints: ``upstreams``, ``embedders``, ``judges``, ``retrievers``, ``people``."""
    table = table_of(f"gate.{section}", ((kind.kind, kind) for kind in kinds))
    return {name: _endpoint(file, section, name, table) for name in getattr(file.policy, section)}


def _endpoint(file: PolicyFile, section: str, name: str, table: Mapping[str, Any]) -> Any:
    settings = getattr(file.policy, section)[name]
    what = "person" if section == "people" else section.removesuffix("s")
    made = look_up(table, f"{what} kind", settings.kind, file.where(section, name, "kind"))
    extra = dict(settings.model_extra or {})
    if isinstance(path := extra.get("path", getattr(settings, "path", None)), str):  # relative to the policy
        extra["path"] = str(file.path.parent / path)
    if section == "retrievers" and isinstance(extra.get("reranker"), str):
        extra["reranker"] = str(file.path.parent / extra["reranker"])
    checked = options(file, made.Options, extra, section, name, of=f"the {what} {name!r}")
    price = (_price(made, settings),) if isinstance(settings, UpstreamSettings) else ()
    try:
        return made.from_options(name, checked, *price)
    except ConfigError as error:
        if error.where:
            raise
        raise ConfigError(str(error), where=file.where(section, name)) from error


def _price(made: Any, settings: UpstreamSettings) -> Price | None:
    """What the policy says; None where it says nothing, and the kind has a list to look it up in."""
    if getattr(made, "lists_prices", False) and "price" not in settings.model_fields_set:
        return None
    return Price(**settings.price.model_dump())
