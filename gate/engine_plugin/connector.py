"""The KV connector that carries what was read out of a server, in the replies' ``kv_transfer_params``.

It moves no key and no value: vLLM's connectors are the one place where a plugin sees every request, every step, and
the reply. One half of it lives with the scheduler, one with each worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
    KVConnectorWorkerMetadata,
    SupportsHMA,
)
from vllm.v1.kv_cache_interface import AttentionSpec, KVCacheConfig
from vllm.v1.request import Request, RequestStatus

from gate.engine_plugin.asking import Opening, asked_of, opening
from gate.engine_plugin.collecting import Collector
from gate.engine_plugin.guard import CannotRead, completed, guarded
from gate.engine_plugin.reading import StateReader
from gate.engine_plugin.setting import Setting
from gate.engine_plugin.shipping import ReadRows, WantedRows

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.outputs import KVConnectorOutput


class GateStatesConnector(KVConnectorBase_V1, SupportsHMA):
    """Reads the states of requests that ask for it. Every other request it leaves as it is."""

    def __init__(self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig) -> None:
        super().__init__(vllm_config=vllm_config, role=role, kv_cache_config=kv_cache_config)
        self.fault = ""
        self._reader: StateReader | None = None
        self._read: ReadRows | None = None
        self._model = ""
        self._group, block_size = self._cache_group() or (0, 1)
        self._collector = Collector(block_size)
        self._prepare()

    @guarded
    def _cache_group(self) -> tuple[int, int]:
        return _cache_group(self._kv_cache_config)

    @guarded
    def _prepare(self) -> None:
        self._setting = Setting.of(self._vllm_config)
        if self._setting.missing:
            raise CannotRead(self._setting.missing)
        if self._role is KVConnectorRole.SCHEDULER:
            self._speller = _Speller(self._vllm_config)

    @property
    def requires_kv_delivery(self) -> bool:
        return False

    # --- with a worker -------------------------------------------------------------------------------------------

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        self._make_reader()

    @guarded
    def _make_reader(self) -> None:
        layer = self._kv_cache_config.kv_cache_groups[self._group].layer_names[0]
        self._reader = StateReader.of_this_process(layer)

    def bind_connector_metadata(self, connector_metadata: KVConnectorMetadata) -> None:
        super().bind_connector_metadata(connector_metadata)
        if self._reader is not None:
            self._reader.stage.clear()

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Nothing is loaded."""

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Nothing is loaded."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Nothing is saved."""

    def wait_for_save(self) -> None:
        """Called once a step, when the model has run."""
        wanted = self._connector_metadata
        if isinstance(wanted, WantedRows) and wanted.spans:
            read = self._read_rows(wanted)
            self._read = ReadRows(wanted.spans, 0, fault=self.fault) if read is None else read

    @guarded
    def _read_rows(self, wanted: WantedRows) -> ReadRows | None:
        if self._reader is None:
            raise CannotRead("the server did not register its caches")
        read: ReadRows = self._reader.read(wanted.spans)
        return read

    def build_connector_worker_meta(self) -> KVConnectorWorkerMetadata | None:
        read, self._read = self._read, None
        return read

    # --- with the scheduler --------------------------------------------------------------------------------------

    def get_num_new_matched_tokens(self, request: Request, num_computed_tokens: int) -> tuple[int | None, bool]:
        return 0, False

    def update_state_after_alloc(self, request: Request, blocks: Any, num_external_tokens: int) -> None:
        """Nothing is loaded."""

    @guarded
    def on_new_request(self, request: Request) -> None:
        if (asked := asked_of(request)) is None:
            return
        if request.resumable:
            wanted = Opening(missing="a session of several inputs is not read")
        else:
            wanted = opening(asked, request.prompt_token_ids or (), request.num_prompt_tokens, self._speller.decode)
        if wanted.given:
            request.skip_reading_prefix_cache = True  # what is taken from the cache is not computed, and not read
        self._collector.open(request.request_id, wanted)

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> KVConnectorMetadata:
        return self._wanted_rows(scheduler_output) or WantedRows()

    @guarded
    def _wanted_rows(self, step: SchedulerOutput) -> WantedRows | None:
        if not self._collector:
            return None
        wanted = WantedRows()
        for new in step.scheduled_new_reqs:
            if new.req_id in self._collector:
                self._collector.place(new.req_id, new.block_ids[self._group], anew=True)
                self._want(wanted, step, new.req_id, new.num_computed_tokens)
        known = step.scheduled_cached_reqs
        for name, blocks, computed in zip(known.req_ids, known.new_block_ids, known.num_computed_tokens, strict=True):
            if name in self._collector:
                if blocks is not None:
                    self._collector.place(name, blocks[self._group], anew=name in known.resumed_req_ids)
                self._want(wanted, step, name, computed)
        return wanted

    def _want(self, wanted: WantedRows, step: SchedulerOutput, request: str, computed: int) -> None:
        span = self._collector.span(request, computed, step.num_scheduled_tokens[request])
        if span is not None:
            wanted.spans.append(span)

    @guarded
    def update_connector_output(self, connector_output: KVConnectorOutput) -> None:
        """Called once a step, after the requests that ended in it: their replies leave after this."""
        read = connector_output.kv_connector_worker_meta
        if isinstance(read, ReadRows):
            self._model = read.model or self._model
            if read.fault:
                self._collector.refuse([request for request, _, _ in read.requests], read.fault)
            for request, start, rows in read.rows():
                self._collector.add(request, start, rows)
        self._collector.settle(self._setting.layout, self._model)

    def request_finished(self, request: Request, block_ids: Any) -> tuple[bool, dict[str, Any] | None]:
        if asked_of(request) is None:
            return False, None
        if request.status is RequestStatus.FINISHED_ABORTED:
            self._collector.drop(request.request_id)
            return False, None
        ended = self._ended(request)
        return False, self._collector.without(request.request_id, self.fault) if ended is None else ended

    @guarded
    def _ended(self, request: Request) -> dict[str, Any]:
        return self._collector.end(request.request_id, request.num_tokens)

    def request_finished_all_groups(
        self, request: Request, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        return self.request_finished(request, block_ids)


def _cache_group(caches: KVCacheConfig) -> tuple[int, int]:
    """A group of attention layers, whose slots tell tokens apart, and the tokens of its blocks."""
    for place, group in enumerate(caches.kv_cache_groups):
        inner = getattr(group.kv_cache_spec, "kv_cache_specs", None)
        spec = next(iter(inner.values())) if inner else group.kv_cache_spec
        if isinstance(spec, AttentionSpec):
            return place, group.kv_cache_spec.block_size
    raise CannotRead("the model has no attention layer with a cache")


class _Speller:
    """The server's tokenizer. Its fault is its own: answers that stand in a prompt are not found without it."""

    def __init__(self, config: VllmConfig) -> None:
        self.fault = ""
        self._tokenizer: Any = None if config.model_config.skip_tokenizer_init else self._loaded(config)

    @guarded
    def _loaded(self, config: VllmConfig) -> Any:
        from vllm.tokenizers import cached_tokenizer_from_config

        return cached_tokenizer_from_config(config.model_config)

    @property
    def decode(self) -> Callable[[list[int]], str] | None:
        return None if self._tokenizer is None or self.fault else self._decoded

    def _decoded(self, tokens: list[int]) -> str:
        return self._spelled(tokens) or ""

    @guarded
    def _spelled(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False))


completed(GateStatesConnector)
