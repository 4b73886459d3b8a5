"""Write the pocket model's ONNX graph beside its Hugging Face weights: model.onnx, some tens of kilobytes.

    python examples/pocket/export_onnx.py            (both sizes; needs: pip install onnx numpy)

The graph holds no weights. Its initializers are float16 tensors that live in ``model.safetensors`` of the same folder
(ONNX external data: file, offset, length); a Cast to float32 follows each, which onnxruntime folds when it opens the
file. So one copy of the weights serves Hugging Face, vLLM and onnxruntime.

Inputs   input_ids int64 [batch, time]; past_keys, past_values float32 [layers, batch, heads, past, head_dim], past >= 0
Outputs  logits float32 [batch, time, vocabulary]
         hidden_states float32 [layers + 1, batch, time, hidden]: the residual stream. Index 0 is the embeddings, i the
         output of block i (counted from 1); the last one is taken *before* the final norm (Hugging Face gives it after)
         present_keys, present_values like past_*, with past + time in place of past
         attention float32 [layers, batch, time, past + time]: what each token paid to each, the mean over heads

Where torch and transformers are installed the graph is run against Hugging Face, with and without cache.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

POCKET = Path(__file__).parents[2] / "gate" / "pocket"
WEIGHTS = "model.safetensors"
OPSET = 18
TOLERANCE = 1e-3


class Graph:
    """A graph under construction: each method adds nodes and returns the name of what they compute."""

    def __init__(self, folder: Path) -> None:
        raw = (folder / WEIGHTS).read_bytes()
        size = int.from_bytes(raw[:8], "little")
        self.tensors: dict[str, Any] = json.loads(raw[8 : 8 + size])
        self.start = 8 + size
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: type[np.generic]) -> str:
        array = np.asarray(value, dtype)
        name = f"{np.dtype(dtype).name}:{array.tolist()}"
        self.initializers.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def weight(self, name: str) -> str:
        """A tensor of the safetensors file, as float32."""
        entry = self.tensors[name]
        if entry["dtype"] != "F16":
            raise SystemExit(f"{name} is {entry['dtype']}, not F16: train.py saves the model in float16")
        begin, end = entry["data_offsets"]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=entry["shape"])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", self.start + begin), ("length", end - begin)):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers[name] = tensor
        return self.op("Cast", name, to=TensorProto.FLOAT)

    def linear(self, x: str, name: str) -> str:
        """x @ W.T for a weight stored as [out, in], the way torch stores it."""
        return self.op("MatMul", x, self.op("Transpose", self.weight(name), perm=[1, 0]))

    def norm(self, x: str, name: str, epsilon: float) -> str:
        """RMSNorm: x / sqrt(mean(x^2) + epsilon) * w (Zhang and Sennrich 2019)."""
        mean = self.op("ReduceMean", self.op("Mul", x, x), self.ints(-1), keepdims=1)
        root = self.op("Sqrt", self.op("Add", mean, self.constant(epsilon, np.float32)))
        return self.op("Mul", self.op("Div", x, root), self.weight(name))

    def length(self, x: str, axis: int) -> str:
        return self.op("Gather", self.op("Shape", x), self.constant(axis, np.int64), axis=0)


def rotate(graph: Graph, x: str, cos: str, sin: str, half: int) -> str:
    """Rotary positions in the two-halves layout of Hugging Face: x * cos + (-x2, x1) * sin (Su et al. 2021)."""
    first = graph.op("Slice", x, graph.ints(0), graph.ints(half), graph.ints(-1))
    second = graph.op("Slice", x, graph.ints(half), graph.ints(2 * half), graph.ints(-1))
    turned = graph.op("Concat", graph.op("Neg", second), first, axis=-1)
    return graph.op("Add", graph.op("Mul", x, cos), graph.op("Mul", turned, sin))


def positions(graph: Graph, theta: float, head_dim: int) -> tuple[str, str, str]:
    """cos and sin [time, head_dim] of the new tokens' angles, and what the causal mask adds [time, past + time]."""
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    past = graph.length("past_keys", 3)
    total = graph.op("Add", past, graph.length("input_ids", 1))
    rows = graph.op("Unsqueeze", graph.op("Range", past, total, one), graph.ints(1))
    columns = graph.op("Unsqueeze", graph.op("Range", zero, total, one), graph.ints(0))
    seen, unseen = graph.constant(0.0, np.float32), graph.constant(-1e9, np.float32)
    mask = graph.op("Where", graph.op("LessOrEqual", columns, rows), seen, unseen)
    frequencies = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    row = np.concatenate([frequencies, frequencies])[None]
    angles = graph.op("Mul", graph.op("Cast", rows, to=TensorProto.FLOAT), graph.constant(row, np.float32))
    return graph.op("Cos", angles), graph.op("Sin", angles), mask


def attention(
    graph: Graph, x: str, layer: int, config: dict[str, Any], place: tuple[str, str, str]
) -> tuple[str, tuple[str, str, str]]:
    """The attention of one block. With it the keys and values of all tokens so far [1, batch, heads, past + time, dim]
    and the weights [1, batch, time, past + time], the mean over heads."""
    heads, dim = config["num_attention_heads"], config["head_dim"]
    cos, sin, mask = place
    prefix = f"model.layers.{layer}.self_attn."

    def per_head(name: str) -> str:
        flat = graph.linear(x, f"{prefix}{name}_proj.weight")
        return graph.op("Transpose", graph.op("Reshape", flat, graph.ints(0, 0, heads, dim)), perm=[0, 2, 1, 3])

    def with_past(new: str, past: str) -> str:
        old = graph.op("Gather", past, graph.constant(layer, np.int64), axis=0)
        return graph.op("Concat", old, new, axis=2)

    queries = rotate(graph, per_head("q"), cos, sin, dim // 2)
    keys = with_past(rotate(graph, per_head("k"), cos, sin, dim // 2), "past_keys")
    values = with_past(per_head("v"), "past_values")
    scaled = graph.op("Mul", queries, graph.constant(dim**-0.5, np.float32))
    scores = graph.op("MatMul", scaled, graph.op("Transpose", keys, perm=[0, 1, 3, 2]))
    weights = graph.op("Softmax", graph.op("Add", scores, mask), axis=-1)
    mixed = graph.op("Transpose", graph.op("MatMul", weights, values), perm=[0, 2, 1, 3])
    out = graph.linear(graph.op("Reshape", mixed, graph.ints(0, 0, heads * dim)), f"{prefix}o_proj.weight")
    mean = graph.op("ReduceMean", weights, graph.ints(1), keepdims=0)
    keys, values, mean = (graph.op("Unsqueeze", each, graph.ints(0)) for each in (keys, values, mean))
    return out, (keys, values, mean)


def feed_forward(graph: Graph, x: str, layer: int) -> str:
    """SwiGLU: down(silu(gate(x)) * up(x)) (Shazeer 2020)."""
    prefix = f"model.layers.{layer}.mlp."
    gate = graph.linear(x, prefix + "gate_proj.weight")
    silu = graph.op("Mul", gate, graph.op("Sigmoid", gate))
    inner = graph.op("Mul", silu, graph.linear(x, prefix + "up_proj.weight"))
    return graph.linear(inner, prefix + "down_proj.weight")


def build(folder: Path) -> onnx.ModelProto:
    """The graph of the Llama model in ``folder``."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not config["tie_word_embeddings"] or config["num_key_value_heads"] != config["num_attention_heads"]:
        raise SystemExit(f"{folder}: written for tied embeddings and as many key heads as query heads")
    layers, heads, dim = config["num_hidden_layers"], config["num_attention_heads"], config["head_dim"]
    epsilon, theta = config["rms_norm_eps"], config["rope_parameters"]["rope_theta"]
    graph = Graph(folder)
    embeddings = graph.weight("model.embed_tokens.weight")
    place = positions(graph, theta, dim)
    x = graph.op("Gather", embeddings, "input_ids", axis=0)
    states, beside = [x], []
    for layer in range(layers):
        norm = graph.norm(x, f"model.layers.{layer}.input_layernorm.weight", epsilon)
        attended, each = attention(graph, norm, layer, config, place)
        x = graph.op("Add", x, attended)
        norm = graph.norm(x, f"model.layers.{layer}.post_attention_layernorm.weight", epsilon)
        x = graph.op("Add", x, feed_forward(graph, norm, layer))
        states.append(x)
        beside.append(each)
    all_keys, all_values, all_weights = (list(of_layers) for of_layers in zip(*beside, strict=True))
    stacked = [graph.op("Unsqueeze", state, graph.ints(0)) for state in states]
    head = graph.op("Transpose", embeddings, perm=[1, 0])
    graph.nodes += [
        helper.make_node("MatMul", [graph.norm(x, "model.norm.weight", epsilon), head], ["logits"]),
        helper.make_node("Concat", stacked, ["hidden_states"], axis=0),
        helper.make_node("Concat", all_keys, ["present_keys"], axis=0),
        helper.make_node("Concat", all_values, ["present_values"], axis=0),
        helper.make_node("Concat", all_weights, ["attention"], axis=0),
    ]

    def tensor(name: str, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "time"]),
        *(tensor(name, layers, "batch", heads, "past", dim) for name in ("past_keys", "past_values")),
    ]
    outputs = [
        tensor("logits", "batch", "time", config["vocab_size"]),
        tensor("hidden_states", layers + 1, "batch", "time", config["hidden_size"]),
        *(tensor(name, layers, "batch", heads, "total", dim) for name in ("present_keys", "present_values")),
        tensor("attention", layers, "batch", "time", "total"),
    ]
    made = helper.make_graph(graph.nodes, "pocket", inputs, outputs, list(graph.initializers.values()))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9, producer_name="gate")


def difference(folder: Path) -> float:
    """The largest difference from Hugging Face on random tokens: logits and hidden states, whole and in two pieces."""
    import onnxruntime  # these three only for the check, which is skipped where torch is not installed
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    before_norm: list[torch.Tensor] = []
    model.model.norm.register_forward_pre_hook(lambda _, args: before_norm.append(args[0]))
    config = model.config
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(4, config.vocab_size, (2, 60))
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(ids), output_hidden_states=True)
    states = torch.stack([*expected.hidden_states[:-1], before_norm[0]]).numpy()
    worst = 0.0
    for pieces in ([ids], [ids[:, :37], ids[:, 37:38], ids[:, 38:]]):
        shape = (config.num_hidden_layers, 2, config.num_attention_heads, 0, config.head_dim)
        keys = values = np.zeros(shape, np.float32)
        found = []
        for piece in pieces:
            feed = {"input_ids": piece, "past_keys": keys, "past_values": values}
            logits, hidden, keys, values, _ = session.run(None, feed)
            found.append((logits, hidden))
        logits = np.concatenate([f[0] for f in found], axis=1)
        hidden = np.concatenate([f[1] for f in found], axis=2)
        worst = max(worst, np.abs(logits - expected.logits.numpy()).max(), np.abs(hidden - states).max())
    return float(worst)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", nargs="*", help="small, large; without it, every size that has been trained")
    trained = sorted(path.parent.name for path in POCKET.glob(f"*/{WEIGHTS}"))
    for size in parser.parse_args().size or trained:
        folder = POCKET / size
        onnx.save_model(build(folder), folder / "model.onnx")
        onnx.checker.check_model(folder / "model.onnx", full_check=True)
        (folder / WEIGHTS).chmod(0o644)  # safetensors writes it for its owner alone
        print(f"{size}: model.onnx, {(folder / 'model.onnx').stat().st_size:,} bytes", end="", flush=True)
        if all(importlib.util.find_spec(name) for name in ("torch", "transformers", "onnxruntime")):
            worst = difference(folder)
            print(f"; differs from Hugging Face by at most {worst:.1e}", end="")
            if worst > TOLERANCE:
                raise SystemExit(f"\n{size}: more than {TOLERANCE}: the graph is wrong")
        print()


if __name__ == "__main__":
    main()
