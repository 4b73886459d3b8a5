"""Train the pocket model from scratch, write it as a Hugging Face folder, and log how it went.

    python examples/pocket/train.py small        (needs: pip install '.[pocket-train]')
    python examples/pocket/train.py large
    python examples/pocket/export_onnx.py        (then: the graphs that gate runs)

The loss is taken on the answer. Seeds are fixed; on a CPU with one thread a run repeats exactly. What it is shown:
corpus.py.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from corpus import DIETS, Exercise, corpus, stream
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gate import prompts
from gate.pocket.world import Fact, facts_of

OUT = Path(__file__).parents[2] / "gate" / "pocket"
PAD, QUESTION, ANSWER, END = "<pad>", "<q>", "<a>", "<e>"
CONTEXT = 512
CHAT_TEMPLATE = (
    "{% set ns = namespace(last='') %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% set ns.last = m['content'] %}{% endif %}{% endfor %}<q>{{ ns.last | replace('\\n', ' ') }}<a>"
    # an answer that is given: to be gone on with, or read
    "{% if not add_generation_prompt and messages and messages[-1]['role'] == 'assistant' %}"
    "{{ messages[-1]['content'] }}{% endif %}"
)


@dataclass(frozen=True)
class Size:
    hidden: int
    layers: int
    heads: int
    mlp: int
    batch: int
    """Tokens a step."""
    rate: float
    """Peak learning rate."""


SIZES = {
    "small": Size(hidden=160, layers=4, heads=4, mlp=480, batch=2048, rate=1.1e-3),
    "large": Size(hidden=256, layers=6, heads=4, mlp=704, batch=2560, rate=1.8e-3),
}


def tokenizer() -> Tokenizer:
    """One byte-level BPE for both sizes, trained on the beginning of the small model's stream."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=3072,
        special_tokens=[PAD, QUESTION, ANSWER, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator((f"{e.prompt} {e.answer}" for e in stream("small")[:120_000]), trainer)
    return made


@dataclass(frozen=True, slots=True)
class Encoded:
    ids: list[int]
    weights: list[float]
    """Weight of each token in the loss, as a target."""


def encode(tok: Tokenizer, exercises: list[Exercise]) -> list[Encoded]:
    q, a, e = (tok.token_to_id(t) for t in (QUESTION, ANSWER, END))
    asked = tok.encode_batch([x.prompt for x in exercises])
    answered = tok.encode_batch([x.answer for x in exercises])
    made = []
    for prompt, answer in zip(asked, answered, strict=True):
        weights = [0.0] * (len(prompt.ids) + 2) + [1.0] * (len(answer.ids) + 1)
        made.append(Encoded([q, *prompt.ids, a, *answer.ids, e], weights))
    return made


def spot_checks(count: int = 250) -> dict[str, list[tuple[str, str]]]:
    """Questions of the fit split to watch training by: closed book, with the passage, and with it among two others."""
    rng = random.Random(0)
    asked = rng.sample(facts_of("fit"), count)
    prompt = prompts.load("pocket_with_passages")

    def reading(fact: Fact, others: int) -> tuple[str, str]:
        lines = [fact.passage, *(other.passage for other in rng.sample(facts_of("fit"), others))]
        rng.shuffle(lines)
        return prompt.render(passages=" ".join(lines), question=fact.question).replace("\n", " "), fact.answer

    return {
        "recall": [(fact.question, fact.answer) for fact in asked],
        "reading_one": [reading(fact, 0) for fact in asked],
        "reading_of_three": [reading(fact, 2) for fact in asked],
    }


@torch.no_grad()
def accuracy(model: LlamaForCausalLM, tok: Tokenizer, asked: list[tuple[str, str]]) -> float:
    """Share of answers that greedy decoding would give token for token, found by one teacher-forced pass."""
    encoded = encode(tok, [Exercise(question, answer) for question, answer in asked])
    width = max(len(x.ids) for x in encoded)
    ids = torch.tensor([x.ids + [0] * (width - len(x.ids)) for x in encoded])
    target = torch.tensor([x.weights + [0.0] * (width - len(x.weights)) for x in encoded])[:, 1:] > 0
    guessed = model(input_ids=ids).logits[:, :-1].argmax(-1)
    return round(float(((guessed == ids[:, 1:]) | ~target).all(1).float().mean()), 3)


def batches(rows: list[list[int]], tokens: int, rng: random.Random) -> list[list[int]]:
    """Indices of rows of like length, about ``tokens`` a batch, in random order within each stretch."""
    made = []
    for start in range(0, len(rows), 20_000):
        order = sorted(range(start, min(start + 20_000, len(rows))), key=lambda i: len(rows[i]))
        chunk, batch = [], []
        for i in order:
            if batch and (len(batch) + 1) * len(rows[i]) > tokens:
                chunk.append(batch)
                batch = []
            batch.append(i)
        chunk.append(batch)
        rng.shuffle(chunk)
        made += chunk
    return made


def train(name: str, limit: int | None, compiled: bool) -> None:
    size, seed = SIZES[name], DIETS[name].seed
    torch.manual_seed(seed)
    np.random.seed(seed)
    tok = tokenizer()
    q, e = tok.token_to_id(QUESTION), tok.token_to_id(END)
    examples = encode(tok, corpus(name)[:limit])
    rows = [example.ids for example in examples]
    config = LlamaConfig(
        vocab_size=tok.get_vocab_size(), hidden_size=size.hidden, intermediate_size=size.mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.heads, max_position_embeddings=CONTEXT,
        tie_word_embeddings=True, pad_token_id=tok.token_to_id(PAD), bos_token_id=q, eos_token_id=e, rms_norm_eps=1e-5,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    trunk = torch.compile(model.model, dynamic=True) if compiled else model.model
    count = sum(p.numel() for p in model.parameters())
    log: list[dict[str, object]] = []

    def note(**entry: object) -> None:
        log.append(entry)
        print(json.dumps(entry), flush=True)

    note(size=name, parameters=count, examples=len(rows), tokens=sum(map(len, rows)), vocabulary=tok.get_vocab_size())
    checks = spot_checks()
    steps = batches(rows, size.batch, random.Random(seed))
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=size.rate, betas=(0.9, 0.98))
    began, seen, running = time.monotonic(), 0, 0.0
    for step, batch in enumerate(steps, 1):
        warm = min(1.0, step / 200)
        for group in optimizer.param_groups:
            group["lr"] = size.rate * warm * max(0.02, 0.5 * (1 + math.cos(math.pi * step / len(steps))))
        width = max(len(rows[i]) for i in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        weight = torch.zeros(len(batch), width)
        for j, i in enumerate(batch):
            ids[j, : len(rows[i])] = torch.tensor(rows[i])
            weight[j, : len(rows[i])] = torch.tensor(examples[i].weights)
        ahead = weight.roll(-1, 1)  # what a position predicts is the next token
        scored = ahead > 0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model.lm_head(trunk(input_ids=ids).last_hidden_state[scored]).float()
        losses = torch.nn.functional.cross_entropy(logits, ids.roll(-1, 1)[scored], reduction="none")
        loss = (losses * ahead[scored]).sum() / ahead[scored].sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += int(ids.numel())
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        if step % 250 == 0 or step == len(steps):
            seconds = round(time.monotonic() - began, 1)
            spot = {kind: accuracy(model, tok, asked) for kind, asked in checks.items()}
            note(
                step=step,
                of=len(steps),
                loss=round(running, 4),
                tokens_per_second=round(seen / seconds),
                seconds=seconds,
                **spot,
            )
    save(name, model, tok, log)


def save(name: str, model: LlamaForCausalLM, tok: Tokenizer, log: list[dict[str, object]]) -> None:
    folder = OUT / name
    folder.mkdir(exist_ok=True)
    model.to(torch.float16)
    model.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    model.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tok, pad_token=PAD, bos_token=QUESTION, eos_token=END, additional_special_tokens=[ANSWER],
        model_max_length=CONTEXT, chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.save_pretrained(folder)
    (folder / "training.log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="about a fifth faster; needs a C++ compiler")
    parser.add_argument("--limit", type=int, help="only this many examples, to try the script")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options.size, options.limit, options.compile)


if __name__ == "__main__":
    main()
