"""What vLLM is pointed to: the connector, or one that does nothing in a vLLM where that cannot even be loaded.

vLLM imports its connector unguarded: what a version renamed would keep the server from starting.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

from gate.engine_plugin.asking import asked_of
from gate.engine_plugin.collecting import Collector
from gate.engine_plugin.guard import completed

_log = logging.getLogger(f"vllm.{__name__}")
_BASE = "vllm.distributed.kv_transfer.kv_connector.v1.base"


def stand_in(reason: str) -> type[Any]:
    """A connector that moves nothing and reads nothing, and says why to whoever asks."""
    base = importlib.import_module(_BASE)
    bases = [base.KVConnectorBase_V1, *filter(None, [getattr(base, "SupportsHMA", None)])]

    class StandIn(*bases):  # type: ignore[misc]
        _collector = Collector(1)

        @property
        def requires_kv_delivery(self) -> bool:
            return False

        def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int, bool]:
            return 0, False

        def build_connector_meta(self, scheduler_output: Any) -> Any:
            return base.KVConnectorMetadata()

        def request_finished(self, request: Any, block_ids: Any) -> tuple[bool, dict[str, Any] | None]:
            return False, None if asked_of(request) is None else self._collector.without(request.request_id, reason)

        def request_finished_all_groups(self, request: Any, block_ids: Any) -> tuple[bool, dict[str, Any] | None]:
            return self.request_finished(request, block_ids)

    completed(StandIn)
    return StandIn


GateStatesConnector: type[Any]
try:
    from gate.engine_plugin.connector import GateStatesConnector
except Exception as error:  # noqa: BLE001 - whatever it is, the server serves on
    _reason = f"this version of vLLM is not one that gate can read: {type(error).__name__}: {error}"
    _log.warning("gate reads no internal states: %s", _reason)
    GateStatesConnector = stand_in(_reason)
