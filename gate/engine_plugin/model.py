"""vLLM's own model classes, which also keep what a forward pass computed for its connector to read.

The classes are attributes of this module by the names of their architectures, made when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.forward_context import get_forward_context, is_forward_context_available
from vllm.model_executor.models import registry

from gate.engine_plugin.guard import guarded
from gate.engine_plugin.registration import ARCHITECTURES
from gate.engine_plugin.serve_line import CONNECTOR
from gate.engine_plugin.setting import Setting


class Stage:
    """What the last forward pass of this process computed, where the connector finds it.

    A pass that a full CUDA graph may hold, of up to ``capacity`` tokens, is copied into buffers that stay where they
    are: no Python runs when the graph does. Of a larger one, and on a CPU, the tensors themselves are held on to.
    """

    def __init__(self, owner: Any, setting: Setting, capacity: int, device: torch.device, dtype: torch.dtype) -> None:
        self.owner = owner
        self.setting = setting
        self.cache_layer = ""
        """The attention layer whose slots tell tokens apart; the connector knows which."""
        self.fault = ""
        self.kept = False
        """Whether any pass left its states here."""
        layout = setting.layout
        self._capacity = capacity
        self._states = torch.zeros(capacity, len(layout.layers), layout.width, dtype=dtype, device=device)
        self._final = torch.zeros(capacity, layout.width, dtype=dtype, device=device)
        self._slots = torch.full((capacity,), -1, dtype=torch.int64, device=device)
        self._large: tuple[list[torch.Tensor], torch.Tensor, torch.Tensor] | None = None

    @guarded
    def keep(self, final: torch.Tensor, aux: list[torch.Tensor]) -> None:
        """``final`` [tokens, width] after the final norm, and the streams [tokens, width] after the layers read."""
        mapping = get_forward_context().slot_mapping if is_forward_context_available() else None
        slots = mapping.get(self.cache_layer) if isinstance(mapping, dict) else None
        if slots is None:  # a pass that only measures memory
            return
        self.kept = True
        tokens = min(len(slots), len(final))
        if tokens > self._capacity:
            self._large = ([stream[:tokens] for stream in aux], final[:tokens], slots[:tokens])
            return  # no graph is this large
        for place, stream in enumerate(aux):
            self._states[:tokens, place].copy_(stream[:tokens])
        self._final[:tokens].copy_(final[:tokens])
        self._slots[:tokens].copy_(slots[:tokens])
        self._slots[tokens:].fill_(-1)

    def clear(self) -> None:
        """Before a pass: what an earlier one left is not to be taken for its."""
        self._large = None

    def rows(self, slots: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Streams [n, layers, width], final states [n, width], and whether the pass held them [n], of slots [n].

        Raises KeyError for one that it did not hold where that can be told without waiting for a GPU.
        """
        if self._large is None:
            at, found = _places(self._slots, slots)
            return self._states.index_select(0, at), self._final.index_select(0, at), found
        streams, final, present = self._large
        if present.device.type == "cpu":
            place = {slot: row for row, slot in enumerate(present.tolist())}
            rows = [place[slot] for slot in slots]
            if rows == list(range(len(final))):  # all of the batch are read: nothing is to be picked
                return torch.stack(streams, dim=1), final, None
            at, found = torch.tensor(rows), None
        else:
            at, found = _places(present, slots)
        states = torch.stack([stream.index_select(0, at) for stream in streams], dim=1)
        return states, final.index_select(0, at), found


def uploaded(numbers: list[int], device: torch.device) -> torch.Tensor:
    """[n] on the device, without waiting for it."""
    made = torch.tensor(numbers, dtype=torch.int64)
    return made if device.type == "cpu" else made.pin_memory().to(device, non_blocking=True)


def _places(present: torch.Tensor, slots: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each slot stands among those present, and whether it does."""
    found, at = (present[None] == uploaded(slots, present.device)[:, None]).max(dim=1)
    return at, found


STAGE: Stage | None = None
"""Of this process, once its model is made."""


class _Staging:
    """Makes the stage of this process. Its fault leaves the model as vLLM made it."""

    def __init__(self) -> None:
        self.fault = ""

    @guarded
    def stage(self, owner: Any, config: VllmConfig, prefix: str) -> Stage | None:
        """The stage of a model that is to be read; None for every other."""
        global STAGE  # vLLM makes model and connector without a word between them
        transfer = config.kv_transfer_config
        if prefix or transfer is None or transfer.kv_connector != CONNECTOR:
            return None
        setting = Setting.of(config)
        if setting.missing:
            return None
        parameter = next(owner.parameters())
        on_gpu = parameter.device.type != "cpu"
        capacity = (config.compilation_config.max_cudagraph_capture_size or 0) if on_gpu else 0
        made = Stage(owner, setting, capacity, parameter.device, config.model_config.dtype)
        owner.set_aux_hidden_state_layers(setting.layout.layers)  # last: from here on passes give them
        STAGE = made
        return made


def _kept(base: type[Any]) -> type[Any]:
    class Kept(base):
        def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
            super().__init__(vllm_config=vllm_config, prefix=prefix)
            self.gate_stage = _Staging().stage(self, vllm_config, prefix)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            made = super().forward(*args, **kwargs)
            if self.gate_stage is None or not isinstance(made, tuple):
                return made
            final, aux = made
            self.gate_stage.keep(final, aux)
            return final

    Kept.__name__, Kept.__qualname__ = base.__name__, base.__qualname__
    return Kept


_made: dict[str, type[Any]] = {}


def __getattr__(name: str) -> type[Any]:
    if name not in ARCHITECTURES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _made:
        module, kind = registry._TEXT_GENERATION_MODELS[name][:2]  # noqa: SLF001 - the class that this one replaces
        path = module if "." in module else f"vllm.model_executor.models.{module}"
        _made[name] = _kept(getattr(importlib.import_module(path), kind))
    return _made[name]
