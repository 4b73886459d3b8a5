"""The entry point that every process of a vLLM server calls: it puts the models that can be read in place of vLLM's.

It does nothing unless the serve line asks for it: a package that happens to be installed must not change a server.
"""

from __future__ import annotations

import logging
import os

SWITCH = "GATE_READ_STATES"
"""The environment variable that turns the plugin on, with the value 1."""
ARCHITECTURES = (
    "AfmoeForCausalLM",
    "ApertusForCausalLM",
    "DeepseekForCausalLM",
    "DeepseekV2ForCausalLM",
    "DeepseekV3ForCausalLM",
    "Ernie4_5ForCausalLM",
    "Gemma4ForCausalLM",
    "GptOssForCausalLM",
    "GraniteForCausalLM",
    "InternLM3ForCausalLM",
    "IQuestCoderForCausalLM",
    "LlamaForCausalLM",
    "Llama4ForCausalLM",
    "MiMoForCausalLM",
    "MiniMaxM2ForCausalLM",
    "Ministral3ForCausalLM",
    "MistralForCausalLM",
    "NemotronHForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "Qwen3NextForCausalLM",
    "Qwen3_5ForCausalLM",
    "Qwen3_5MoeForCausalLM",
    "TeleChat3ForCausalLM",
)
"""Text models of vLLM 0.32 that show the stream after each of their blocks (its ``SupportsEagle3``)."""
_log = logging.getLogger(f"vllm.{__name__}")


def register() -> None:
    """The entry point ``gate`` of ``vllm.general_plugins``. Never raises: a server starts without what it brings."""
    if os.environ.get(SWITCH) != "1":
        return
    try:
        _override()
    except Exception as error:  # noqa: BLE001 - whatever a newer vLLM changed must not keep a server from starting
        _log.warning("gate reads no internal states: %s: %s", type(error).__name__, error)


def _override() -> None:
    from vllm import ModelRegistry

    from gate.engine_plugin import model  # noqa: F401 - in a vLLM where it cannot be imported, nothing is put in place

    known = ModelRegistry.get_supported_archs()
    for name in ARCHITECTURES:
        if name in known:  # by name: the class is imported when a model of it is served
            ModelRegistry.register_model(name, f"gate.engine_plugin.model:{name}")
