"""What is read of a served model, by the configuration of its server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gate.engine_plugin.setting import Setting
from gate.hidden_states.layout import Layout


def config(extra: dict[str, Any] | None = None, **changed: Any) -> Any:
    """As much of a ``vllm.config.VllmConfig`` as is looked at."""
    parallel = {
        "pipeline_parallel_size": 1,
        "decode_context_parallel_size": 1,
        "prefill_context_parallel_size": 1,
        "use_ubatching": False,
    }
    model = {"is_multimodal_model": False, "runner_type": "generate"}
    return SimpleNamespace(
        model_config=SimpleNamespace(
            get_total_num_hidden_layers=lambda: 10,
            get_hidden_size=lambda: 64,
            **{name: changed.get(name, value) for name, value in model.items()},
        ),
        parallel_config=SimpleNamespace(**{name: changed.get(name, value) for name, value in parallel.items()}),
        kv_transfer_config=SimpleNamespace(kv_connector_extra_config=extra),
        speculative_config=changed.get("speculative_config"),
        lora_config=changed.get("lora_config"),
    )


def test_layers_are_at_shares_of_the_depth_unless_they_are_said() -> None:
    assert Setting.of(config()) == Setting(Layout.at(10, 64))
    assert Setting.of(config({})).layout.layers == (4, 5, 6, 10)
    assert Setting.of(config({"layers": [1, 9]})) == Setting(Layout(10, 64, (1, 9)))


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"layers": [1, 11]}, "the model has the layers 1 to 10"),
        ({"layers": [0]}, "the model has the layers 1 to 10"),
        ({"layers": []}, "ascending numbers"),
        ({"layers": [3, 2]}, "ascending numbers"),
        ({"layers": "1,2"}, "list of whole numbers"),
        ({"layers": [True]}, "list of whole numbers"),
        ({"layers": [1.0]}, "list of whole numbers"),
        ({"layer": [1]}, "unknown: layer"),
    ],
)
def test_wrong_layers_are_a_reason_not_an_error(extra: dict[str, Any], said: str) -> None:
    setting = Setting.of(config(extra))
    assert said in setting.missing
    assert "kv_connector_extra_config" in setting.missing


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pipeline_parallel_size": 2}, "pipeline"),
        ({"decode_context_parallel_size": 2}, "context"),
        ({"prefill_context_parallel_size": 2}, "context"),
        ({"use_ubatching": True}, "parted"),
        ({"speculative_config": object()}, "speculative"),
        ({"is_multimodal_model": True}, "multimodal"),
        ({"runner_type": "pooling"}, "writes no text"),
    ],
)
def test_what_is_not_supported_is_a_reason(changed: dict[str, Any], said: str) -> None:
    assert said in Setting.of(config(**changed)).missing


def test_all_reasons_are_told() -> None:
    missing = Setting.of(config(pipeline_parallel_size=2, speculative_config=object())).missing
    assert "pipeline" in missing
    assert "speculative" in missing


def test_with_adapters_the_head_is_left_alone() -> None:
    assert Setting.of(config()).head
    assert not Setting.of(config(lora_config=object())).head
