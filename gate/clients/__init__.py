"""Clients of models, gated: `wrap` one, and its answers are let through or withheld; use it as before."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from gate.clients.gating import Gating
from gate.decorator.decided import Decided
from gate.decorator.gate import Gate
from gate.decorator.guard_settings import OnAbstention
from gate.ports import Profile
from gate.types import Budget

if TYPE_CHECKING:
    from pathlib import Path

    import openai

    from gate.gateway import Gateway

    C = TypeVar("C", bound=openai.OpenAI | openai.AsyncOpenAI)
else:
    C = TypeVar("C")


def wrap(
    client: C,
    policy: str | Path | Gate | Gateway = "own",
    *,
    written_by: str = "",
    gather: bool | None = None,
    on_abstention: OnAbstention = "return",
    profile: Profile | None = None,
    budget: Budget | None = None,
    remember: int = 100,
) -> C:
    """An OpenAI client of the same class, whose ``chat.completions`` give only what the policy lets through.

    ``client`` itself is left as it is. It is asked for drafts and for the evidence about them, with its key, address
    and retries, in the place of the first upstream of the policy's ladder; all else goes through to it untouched.

    ``written_by``: the upstream of the ladder whose model this client does ask. Only then a certificate holds.
    ``gather``: whether the policy's own routes may act: search, ask a larger model. By default they may where the
    policy is about these answers: by ``written_by``, or an upstream of ``kind: caller``. ``on_abstention``: ``return``
    a completion with a ``message.refusal``, or ``raise`` `gate.AnswerWithheld`. ``profile``: what the client's server
    can do; what it refuses is found out. ``budget``: the most a question may cost beside its draft. ``remember``: how
    many decisions `decisions_of` tells. Raises `TypeError` for other clients, and `ConfigError` for a policy that
    cannot be used.
    """
    kind = _kind(client)
    owned = not hasattr(policy, "ajudge")
    judging = policy if isinstance(policy, Gate) else Gate(policy)
    gating = Gating(judging, written_by, gather, on_abstention, profile, budget, remember, owned)
    made: C = import_module("gate.clients.openai_client").gated(client, gating, kind)
    return made


def _kind(client: object) -> str:
    """``sync`` or ``async``. A client's library was imported by whoever made it."""
    openai: Any = sys.modules.get("openai")
    if openai is not None and not isinstance(client, type):
        for kind, name in (("sync", "OpenAI"), ("async", "AsyncOpenAI")):
            if isinstance(client, getattr(openai, name, ())):
                return kind
    said = f"cannot wrap a {type(client).__qualname__}: gate.wrap takes an openai.OpenAI or openai.AsyncOpenAI"
    raise TypeError(f"{said}, Azure's too; guard a function that asks any other client with gate.guard")


def decision_of(reply: object) -> Decided[Any]:
    """The decision behind a reply of a wrapped client, one of its choices, or a stream: its ``gate`` attribute.

    Raises `TypeError` where there is none.
    """
    found = getattr(reply, "gate", None)
    if not isinstance(found, Decided):
        raise TypeError(f"there is no decision behind this {type(reply).__qualname__}: no wrapped client gave it")
    return found


def decisions_of(client: object) -> tuple[Decided[Any], ...]:
    """The last decisions about answers of a wrapped client, the newest at the end."""
    found = getattr(client, "gate", None)
    if not isinstance(found, Gating):
        raise TypeError(f"this {type(client).__qualname__} is not wrapped: wrap it with gate.wrap")
    return tuple(found.decisions)


__all__ = ["decision_of", "decisions_of", "wrap"]
