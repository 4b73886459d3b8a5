"""What is read of a served model, told by the server's configuration alone: scheduler and workers find the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from gate.hidden_states.layout import Layout


@dataclass(frozen=True, slots=True)
class Setting:
    """The layout of a served model, or why nothing is read of it."""

    layout: Layout
    missing: str = ""
    head: bool = True
    """Whether the head may be applied to states between the steps of the server."""

    @classmethod
    def of(cls, config: Any) -> Self:
        """Of a ``vllm.config.VllmConfig``."""
        model = config.model_config
        depth, width = model.get_total_num_hidden_layers(), model.get_hidden_size()
        extra = config.kv_transfer_config.kv_connector_extra_config
        missing = _unsupported(config)
        try:
            layout = _layout(extra or {}, depth, width)
        except ValueError as error:
            layout, missing = Layout.at(depth, width), f"kv_connector_extra_config: {error}"
        return cls(layout, missing, head=config.lora_config is None)


def _layout(extra: Mapping[str, Any], depth: int, width: int) -> Layout:
    if unknown := set(extra) - {"layers"}:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    layers = extra.get("layers")
    if layers is None:
        return Layout.at(depth, width)
    if not isinstance(layers, list) or any(type(layer) is not int for layer in layers):
        raise ValueError(f"layers must be a list of whole numbers, not {layers!r}")
    return Layout(depth, width, tuple(layers))


def _unsupported(config: Any) -> str:
    """Why nothing is read with this configuration; empty when it can be."""
    parallel = config.parallel_config
    reasons = {
        "a pipeline over several workers": parallel.pipeline_parallel_size > 1,
        "a context shared by several workers": getattr(parallel, "decode_context_parallel_size", 1) > 1
        or getattr(parallel, "prefill_context_parallel_size", 1) > 1,
        "batches parted in two": bool(parallel.use_ubatching),
        "speculative decoding": config.speculative_config is not None,
        "a multimodal model": bool(config.model_config.is_multimodal_model),
        "a model that writes no text": config.model_config.runner_type != "generate",
    }
    found = [name for name, is_so in reasons.items() if is_so]
    return f"internal states are not read with {', '.join(found)}" if found else ""
