"""Is the promise still kept: what people say of answers goes into a monitor that may be looked at after each of them.

A label counts where it can be held against the promise: of an answer that went out because gate let it, of the policy
as it runs now, drawn for audit by chance and labelled in a review (or any, where every answer gets a label), and once:
users who tell of wrong answers only would have it ring. It counts by the inverse of the chance of having been drawn.
Where the share that is drawn was lowered since the monitor began, an answer counts as the largest weight that was fixed
then, which errs on the side of silence.

The first alarm is told to a webhook: a POST of JSON with ``policy``, ``fingerprint``, ``audited``, ``wrong``, ``risk``,
``e_value`` and ``at``. With a secret, the header ``X-Gate-Signature`` is ``sha256=`` and the HMAC-SHA256 of the body
(RFC 2104), in hexadecimal. Workers that see it at the same time may each tell it, under the same ``Idempotency-Key``.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import anyio
import httpx
import orjson
import tenacity

from gate.errors import ConfigError, GateError, RequestError
from gate.gateway import Gateway
from gate.guarantees.monitor import DriftMonitor
from gate.http_wire import secret_of
from gate.log.kept import DecisionReader, Kept, Label
from gate.proxy.settings import AuditSettings, WebhookSettings

log = logging.getLogger("gate.proxy.drift")
REFRESH = 15.0
"""Seconds after which what other workers were told is read."""
_ATTEMPTS = 5


class Served(Protocol):
    """Which policies run now. See `gate.proxy.policies.Policies`."""

    def get(self, name: str = "") -> Gateway: ...
    def all(self) -> tuple[Gateway, ...]: ...


@dataclass(slots=True)
class PromiseWatch:
    """The monitors of all policies. Belongs to one event loop; several workers share them through the log."""

    reader: DecisionReader
    audit: AuditSettings = field(default_factory=AuditSettings)
    webhook: WebhookSettings | None = None
    on_change: Callable[[str, DriftMonitor | None], None] | None = None
    """Told of a policy's monitor whenever it is read: fits `gate.proxy.metrics.Metrics.monitor`."""
    _secret: str | None = field(default=None, init=False, repr=False)
    _known: dict[str, DriftMonitor | None] = field(default_factory=dict, init=False)
    _alarms: deque[tuple[str, str, DriftMonitor]] = field(default_factory=deque, init=False)
    _woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        """Raises `ConfigError` where the webhook's secret is not there, or its address none of http."""
        if self.webhook and not self.webhook.url.startswith(("http://", "https://")):
            raise ConfigError("the webhook's 'url' must begin with http:// or https://")
        if self.webhook and self.webhook.secret_env:
            self._secret = secret_of(self.webhook.secret_env, "the secret that the alarm is signed with")

    # --- labels --------------------------------------------------------------------------------------------------

    async def label(self, label: Label, policies: Served) -> DriftMonitor | None:
        """Keep a label; the monitor after it where it counts, None where it does not.

        Raises `RequestError` (404) where there is no such decision, and `GateError` where the log fails. Who may label
        what is for the caller to check.
        """
        async with self._turn:  # of two labels of one decision only the first counts
            kept = await anyio.to_thread.run_sync(self.reader.find, label.decision)
            if kept is None or not await anyio.to_thread.run_sync(self.reader.label, label):
                raise RequestError("there is no such decision", param="id", status=404, code="decision_not_found")
            weight = self.weight(kept)
            told = kept.label is not None and kept.label.correct is not None and self._heard(kept.label)
            if label.correct is None or not self._heard(label) or weight is None or told:
                return None
            try:
                gateway = policies.get(kept.policy)
            except RequestError:  # served no more
                return None
            if gateway.policy_fingerprint != kept.policy_fingerprint:
                return None
            return await self._count(kept, gateway, not label.correct, weight)

    def _heard(self, label: Label) -> bool:
        return self.audit.counts == "all" or label.source == "review"

    def weight(self, kept: Kept) -> float | None:
        """What a label of this decision counts for; None where it says nothing about the promise."""
        if kept.mode != "enforce" or kept.action != "answer":
            return None
        if self.audit.counts == "all":
            return 1.0
        return 1 / kept.audit if kept.audit else None

    async def _count(self, kept: Kept, gateway: Gateway, wrong: bool, weight: float) -> DriftMonitor:
        name, fingerprint, promise = kept.policy, kept.policy_fingerprint, gateway.policy.promise
        before = await anyio.to_thread.run_sync(self.reader.monitor, name, fingerprint)
        largest = 1.0 if self.audit.counts == "all" else max(weight, 1 / self.audit.share if self.audit.share else 1.0)
        fresh = DriftMonitor(alpha=promise.max_error, delta=1 - promise.confidence, largest_weight=largest)
        weight = min(weight, (before or fresh).largest_weight)
        update = partial(self.reader.update_monitor, name, fingerprint, wrong, weight, fresh)
        after = await anyio.to_thread.run_sync(update)
        self._keep(name, after)
        if after.alarm and not (before and before.alarm):
            log.error(
                "the promise of the policy %r is broken: of %d audited answers %d were wrong, a risk of %.3f where at "
                "most %.3f was promised",
                name, after.audited, after.wrong, after.risk or 0.0, after.alpha,
            )  # fmt: skip
            self._alarms.append((name, fingerprint, after))
            self._woken.set()
        return after

    # --- what is known -------------------------------------------------------------------------------------------

    def state(self, policy: str) -> Mapping[str, float | bool | None] | None:
        """How the promise of a policy stands, as plain values; None where nothing was audited yet."""
        monitor = self._known.get(policy)
        if monitor is None:
            return None
        return {
            "alarm": monitor.alarm,
            "audited": monitor.audited,
            "wrong": monitor.wrong,
            "risk": monitor.risk,
            "promised": monitor.alpha,
            "e_value": monitor.e_value,
        }

    async def refresh(self, policies: Served) -> None:
        """Read how the promises stand. Raises `GateError` where the log cannot be read."""
        known: dict[str, DriftMonitor | None] = {}
        for gateway in policies.all():
            read = partial(self.reader.monitor, gateway.name, gateway.policy_fingerprint)
            known[gateway.name] = await anyio.to_thread.run_sync(read)
        for gone in self._known.keys() - known.keys():
            del self._known[gone]
        for name, monitor in known.items():
            self._keep(name, monitor)

    def _keep(self, policy: str, monitor: DriftMonitor | None) -> None:
        self._known[policy] = monitor
        if self.on_change is not None:
            self.on_change(policy, monitor)

    # --- telling -------------------------------------------------------------------------------------------------

    async def run(self, policies: Served, *, every: float = REFRESH) -> None:
        """Post alarms and refresh what is known, until cancelled. A failure of either is logged and ends nothing."""
        while True:
            self._woken.clear()
            while self._alarms:
                await self._post(*self._alarms.popleft())
            try:
                await self.refresh(policies)
            except GateError as error:
                log.error("cannot read how the promises stand: %s", error)
            with anyio.move_on_after(every):
                await self._woken.wait()

    async def _post(self, policy: str, fingerprint: str, monitor: DriftMonitor) -> None:
        hook = self.webhook
        if hook is None:
            return
        said = {
            "policy": policy,
            "fingerprint": fingerprint,
            "audited": monitor.audited,
            "wrong": monitor.wrong,
            "risk": monitor.risk,
            "e_value": monitor.e_value,
            "at": time.time(),
        }
        body = orjson.dumps(said)
        headers = {"content-type": "application/json", "idempotency-key": f"gate-alarm-{policy}-{fingerprint}"}
        if self._secret is not None:
            signed = hmac.new(self._secret.encode("utf-8", "surrogateescape"), body, hashlib.sha256).hexdigest()
            headers["x-gate-signature"] = f"sha256={signed}"
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(httpx.HTTPError),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
            reraise=True,
        )
        try:
            async with httpx.AsyncClient(timeout=hook.seconds, follow_redirects=False) as client:
                await retrying(_sent, client, hook.url, body, headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # the words of the error may hold the address, and so what is secret in it
            log.error("the webhook was not told that the promise of %r is broken: %s", policy, type(error).__name__)


async def _sent(client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    reply = await client.post(url, content=body, headers=headers)
    if not reply.is_success:  # a redirect neither: what is posted goes where the settings say
        raise httpx.HTTPStatusError("refused", request=reply.request, response=reply)
