"""What is loaded inside a vLLM server to read the states of its model: a general plugin and a KV connector.

``gate vllm-args MODEL`` prints the command that starts such a server. In it, `registration` puts subclasses (`model`)
of vLLM's model classes in their place, which show what a forward pass computed; `connector` asks them, after each step,
for the rows of requests that want to be read (`reading`, `readings`, `shipping`), collects these until an answer ends
(`collecting`), and hands its block out with the reply. Nothing is written to a file, no request that does not ask is
touched, and nothing is sent but the reply.

The wire: a request has ``kv_transfer_params: {"gate_states": {}}``, or ``{"gate_states": {"given": "an answer"}}``
where the answer stands at the end of the prompt and is to be read as if it had been written (the last message is
continued, and one token is generated). The reply has ``kv_transfer_params: {"gate_states": {"0": block, "1": …}}`` by
the index of the choice. A block has the fields of `gate.types.InternalStates`, or ``missing`` with the reason.

No reply: streams, and answers that a stop *string* ended (vLLM then ends the request as if the client had gone; stop
tokens are no matter). Of several prompts in one request, the first one's. No states, with the reason in every reply:
pipelines over several workers, shared contexts, batches parted in two, speculative decoding, multimodal models, models
whose class does not show its layers. No lens and no stability, with states: with LoRA adapters. No gradient, flip
radius and perturbation energy: where logits are not the product with the head's weight (soft cap, scale, bias,
quantised).

Run, with vLLM 0.32.0 on CPUs and the large pocket model, against what numpy makes of the same tokens (each part within
0.05 % in float32, with the packing; 1 to 3 % in bfloat16): eager and compiled, prompts in chunks, prefix-cache hits,
given answers, n = 3 and 10, 64 mixed requests at once, 44 preemptions, aborts, two tensor-parallel workers, wrong
layers, and the plugin left switched off. Not run, only read: GPUs, CUDA graphs, vLLM's newer model runner.

What it costs: for each of an answer's first `KEY_TOKENS` tokens as many products with the head as layers are read, and
two more, in three passes over its weights; for every other token next to nothing. So it weighs most where answers are
short and the head is a large part of the model: the README has the figures. Requests that do not ask cost nothing that
could be told.
"""
