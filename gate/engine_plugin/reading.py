"""The worker's side of reading: rows of the pass that a model has just run, on their way to the scheduler."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from vllm.distributed import get_tensor_model_parallel_rank

from gate.engine_plugin import model
from gate.engine_plugin.collecting import Span
from gate.engine_plugin.guard import CannotRead
from gate.engine_plugin.model import Stage, uploaded
from gate.engine_plugin.readings import Head, Reader, head_of
from gate.engine_plugin.shipping import ReadRows
from gate.hidden_states.block import identity
from gate.hidden_states.layout import LENS, STABILITY

_NORM = re.compile(r"norm[^.]*\.weight$")


class StateReader:
    """Reads the rows that are wanted of each step."""

    def __init__(self, stage: Stage) -> None:
        layout = stage.setting.layout
        self.stage = stage
        self._model = identity(layout.depth, layout.width, _norms(stage.owner))
        self._device = next(stage.owner.parameters()).device
        self._told = len(layout.layers) * len(LENS) + len(STABILITY)
        self._reader = Reader(layout, self._head, self._device)
        self._ships = get_tensor_model_parallel_rank() == 0

    @classmethod
    def of_this_process(cls, cache_layer: str) -> StateReader:
        """Raises CannotRead where the model is none that can be read."""
        if model.STAGE is None:
            raise CannotRead("the server was not started to read states, or its model is none that can be read")
        model.STAGE.cache_layer = cache_layer
        with torch.inference_mode():
            return cls(model.STAGE)

    def _head(self) -> Head | None:
        return head_of(self.stage.owner, self.stage.setting.layout.width) if self.stage.setting.head else None

    @torch.inference_mode()
    def read(self, spans: Sequence[Span]) -> ReadRows:
        """The rows of the step. Every worker works them out, for they share in it; the first one ships them."""
        if self.stage.fault or not self.stage.kept:
            raise CannotRead(self.stage.fault or "the model shows no streams of its layers")
        keyed = [slot for span in spans for slot in span.slots[: len(span.targets)]]
        plain = [slot for span in spans for slot in span.slots[len(span.targets) :]]
        words = self._reader.vocabulary  # a prompt may hold what the head has no word for
        targets = [target if target < words else -1 for span in spans for target in span.targets]
        streams, final, found = self.stage.rows(keyed + plain)
        states = self._reader.states(streams)
        if found is not None:
            states.masked_fill_(~found[:, None], torch.nan)
        parts = [states.flatten()]
        if keyed:
            known = uploaded(targets, self._device) if max(targets) >= 0 else None
            parts.append(self._reader.told(streams[: len(keyed)], final[: len(keyed)], known).flatten())
        numbers = torch.cat(parts)
        if not self._ships:
            return ReadRows((), self._told)
        if self._device.type == "cpu":
            return ReadRows(spans, self._told, self._model, numbers)
        host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
        host.copy_(numbers, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        return ReadRows(spans, self._told, self._model, host, arrived)


def _norms(owner: Any) -> dict[str, Any]:
    """The norms [width] of a model by name: vLLM's names of them are those of Hugging Face."""
    return {
        name: parameter.detach().float().cpu().numpy()
        for name, parameter in owner.named_parameters()
        if parameter.ndim == 1 and _NORM.search(name)
    }
