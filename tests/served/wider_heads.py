"""The small pocket model with wider attention heads and the same numbers, for engines whose heads come in fixed widths.

vLLM's attention on CPUs knows no heads 40 wide. A head is widened with rows and columns of zeros; what it divides
scores by, the root of its width, is put into the queries; and only its first 40 numbers are turned by their place.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np

_COPIED = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def widened(source: Path, into: Path, width: int = 64) -> Path:
    """A Hugging Face folder of a model that computes what the one in ``source`` does, with heads ``width`` wide."""
    from safetensors.numpy import load_file, save_file

    into.mkdir()
    for name in _COPIED:
        shutil.copy(source / name, into / name)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    old, heads = config["head_dim"], config["num_attention_heads"]
    assert config["num_key_value_heads"] == heads
    config["head_dim"] = width
    config["rope_parameters"]["partial_rotary_factor"] = old / width
    config["dtype"] = "float32"
    (into / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = load_file(source / "model.safetensors")
    for name, weight in weights.items():
        wide = weight.astype(np.float32)
        part = name.split(".")[-2]
        if part in {"q_proj", "k_proj", "v_proj"}:
            by_head = wide.reshape(heads, old, -1)
            by_head = by_head * math.sqrt(width / old) if part == "q_proj" else by_head
            wide = np.pad(by_head, ((0, 0), (0, width - old), (0, 0))).reshape(heads * width, -1)
        elif part == "o_proj":
            by_head = wide.reshape(-1, heads, old)
            wide = np.pad(by_head, ((0, 0), (0, 0), (0, width - old))).reshape(-1, heads * width)
        weights[name] = np.ascontiguousarray(wide, dtype=np.float32)
    save_file(weights, into / "model.safetensors")
    return into
