"""Which model each upstream says it is, and whether that is still the one: a provider may put another behind a name.

What counts is the name in its replies. Where the certificate remembers the names that were reported when the policy was
tuned, it is those; else the first that was seen since the policy was loaded. A name that was asked for and comes back
tells nothing either way (``gpt-4o``, say, where a server reports ``gpt-4o-2024-08-06`` elsewhere), nor does a prefix
like that of a router (``openai/gpt-4o``), nor upper case. Of two owners a name is two models (``meta/x``, ``evil/x``).
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

_VERSION = re.compile(r"[-@:](?:v?\d[\d.-]*|latest)")
"""What servers put behind the name they were asked for, when they say which of its versions answered."""
_DATED = re.compile(r"[-@:](?:(?:\d{2}-)?\d{4}(?:-\d{2}){0,2}|\d{6}|\d{8}|v\d+(?:\.\d+)*|latest)")
"""The same behind a name that a certificate was made with: ``llama-3-70`` is no version of ``llama-3``."""
_SHOWN = 80
_MOST = 1000
"""Names that are remembered as the same: a server may make up as many as it likes."""


class ModelNames:
    """Of one loaded policy. Safe to share between threads; on the way of every reply, so it looks a name up once."""

    def __init__(self, asked: Mapping[str, str] | None = None, certified: Mapping[str, str] | None = None) -> None:
        """``asked``: the name by which each upstream is asked; ``certified``: that which it had in its replies."""
        self.changed: dict[str, str] = {}
        """Why an upstream is not the one it was, in words, by its name."""
        self.others: Counter[str] = Counter()
        """Replies of other models, by upstream."""
        self._asked = {upstream: _Name.of(name) for upstream, name in (asked or {}).items()}
        self._expected = {upstream: _Name.of(name) for upstream, name in (certified or {}).items()}
        self._certified = frozenset(certified or ())
        self._same: set[tuple[str, str]] = set()
        self._told = 0
        self._lock = threading.Lock()

    def heard(self, upstream: str, said: str) -> str:
        """A reply came by this name: why no certificate holds for it, or ""."""
        if (upstream, said) in self._same:
            return ""
        with self._lock:
            reason = self._judged(upstream, _Name.of(said), learns=True)
            if reason:
                self.others[upstream] += 1
                self.changed.setdefault(upstream, reason)
            elif len(self._same) < _MOST:
                self._same.add((upstream, said))
        return reason

    def judged(self, upstream: str, said: str) -> str:
        """`heard` of a reply from a recording: nothing is learned of it."""
        with self._lock:
            return self._judged(upstream, _Name.of(said), learns=False)

    def news(self) -> tuple[str, ...]:
        """What changed since this was asked last."""
        with self._lock:
            new = tuple(self.changed.values())[self._told :]
            self._told += len(new)
        return new

    def _judged(self, upstream: str, name: _Name, *, learns: bool) -> str:
        expected, asked = self._expected.get(upstream), self._asked.get(upstream, _Name("", ""))
        if not name.model:
            return ""
        if expected is None:
            if learns:
                self._learn(upstream, name)
            return ""
        if name.model == expected.model:
            return "" if name.may_be(expected) else _reason(upstream, name.in_full, expected.in_full)
        if name.model == asked.model and (name.may_be(asked) or name.may_be(expected)):
            return ""
        version = _DATED if upstream in self._certified else _VERSION
        if expected.model == asked.model and version.fullmatch(name.model.removeprefix(asked.model)):
            if not name.may_be(expected):
                return _reason(upstream, name.in_full, expected.in_full)
            if learns:
                self._learn(upstream, _Name(name.owner or expected.owner, name.model))
            return ""
        return _reason(upstream, name.model, expected.model)

    def _learn(self, upstream: str, name: _Name) -> None:
        self._expected[upstream] = name
        self._same = {each for each in self._same if each[0] != upstream}


@dataclass(frozen=True, slots=True)
class _Name:
    owner: str
    """"" where none is said."""
    model: str

    @classmethod
    def of(cls, name: str) -> Self:
        before, _, model = name.strip().casefold().rpartition("/")
        return cls(before.rpartition("/")[2], model)

    @property
    def in_full(self) -> str:
        return f"{self.owner}/{self.model}" if self.owner else self.model

    def may_be(self, other: _Name) -> bool:
        """Whether both may have one owner."""
        return not self.owner or not other.owner or self.owner == other.owner


def _reason(upstream: str, name: str, expected: str) -> str:
    return f"the upstream {upstream!r} says it is {_shown(name)!r}, and was {_shown(expected)!r}"


def _shown(name: str) -> str:
    return "".join(mark if mark.isprintable() else "?" for mark in name[:_SHOWN])
