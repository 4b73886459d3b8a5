"""Write a model of usual proportions, with weights drawn at random: its head is 3 % of it, as in many of 7 to 70 B.

    python -m tests.benchmarks.internal.wide_model FOLDER      (needs: torch, transformers)

The pocket model's head is 14 % of it, so what is worked out with the head weighs more there than it does elsewhere.
The tokenizer is the pocket model's.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gate.pocket.weights import folder


def write(into: Path) -> None:
    source = folder("large")
    shutil.copytree(source, into, ignore=shutil.ignore_patterns("*.safetensors", "*.onnx", "config.json", "*.jsonl"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=3072,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=16,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=3,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.float16).save_pretrained(into)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
