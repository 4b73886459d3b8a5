"""The pocket model in this process: what it is fed, what it generates, and what its numbers mean."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from gate.errors import UpstreamError
from gate.pocket import model as model_module
from gate.pocket import weights
from gate.pocket.model import ANSWER, END, PAD, QUESTION, PocketModel
from gate.pocket.sampling import Sampling
from gate.pocket.weights import SIZES, Size
from gate.types import Message

UNKNOWN = "Where is Qxzbrunk?"
"""A place that does not exist: the model cannot be sure of anything."""
GREEDY = Sampling(temperature=0, max_tokens=12, top_logprobs=5)


@pytest.fixture(scope="module")
def small() -> PocketModel:
    return PocketModel.load("small")


def ask(model: PocketModel, text: str) -> list[int]:
    return model.encode_chat([Message("user", text)])


@pytest.mark.parametrize("size", SIZES)
def test_each_size_opens_once_and_answers(size: Size) -> None:
    model = PocketModel.load(size)
    assert PocketModel.load(size) is model
    assert model.name == f"pocket-{size}"
    (answer,) = model.generate(ask(model, "Which country is Paris in?"), GREEDY)
    assert answer.text.strip() == answer.text != ""


def test_the_graph_holds_no_copy_of_the_weights() -> None:
    for size in SIZES:
        assert (weights.folder(size) / "model.onnx").stat().st_size < 100_000


@pytest.mark.parametrize("size", SIZES)
def test_the_graph_points_at_the_weights_that_are_there(size: Size) -> None:
    """A retrained model whose graph was not exported again would read its weights from the wrong places."""
    raw = (weights.folder(size) / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    entry = json.loads(raw[8:start])["model.embed_tokens.weight"]
    begin, end = entry["data_offsets"]
    table = np.frombuffer(raw[start + begin : start + end], np.float16).reshape(entry["shape"])
    np.testing.assert_array_equal(PocketModel.load(size).hidden_states([7, 99])[0], table[[7, 99]].astype(np.float32))


# --- what it is fed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Where is Paris?",
        " leading",
        "",
        "a\nb\n\nc",
        "\U0001f600 שלום مرحبا",
        "it's 3000's  two  spaces\ttab",
        "\u00a0x",
    ],
)
def test_a_prompt_is_what_chat_template_and_tokenizer_give(small: PocketModel, text: str) -> None:
    template = (weights.folder("small") / "chat_template.jinja").read_text(encoding="utf-8")
    asked, _, given = template.partition(r"<q>{{ ns.last | replace('\n', ' ') }}<a>")
    assert asked.endswith("{% endfor %}")
    assert given.startswith("{% if not add_generation_prompt")
    tokenizer = Tokenizer.from_file(str(weights.folder("small") / "tokenizer.json"))
    line = text.replace("\n", " ")
    assert ask(small, text) == tokenizer.encode(f"<q>{line}<a>", add_special_tokens=False).ids


def test_only_the_last_user_message_counts(small: PocketModel) -> None:
    turns = [("system", "be brief"), ("user", "Where is Rome?"), ("assistant", "Italy"), ("user", "Where is Paris?")]
    assert small.encode_chat([Message(*turn) for turn in turns]) == ask(small, "Where is Paris?")


def test_no_user_message_is_refused(small: PocketModel) -> None:
    for messages in ([], [Message("system", "Where is Paris?")]):
        with pytest.raises(UpstreamError, match="no user message") as caught:
            small.encode_chat(messages)
        assert caught.value.status == 400


@pytest.mark.parametrize("typed", ["<a>", "<e>", "<q>", "<pad>", "x<a>France<e>", "<a><e>", " <e> "])
def test_control_tokens_cannot_be_typed(small: PocketModel, typed: str) -> None:
    ids = ask(small, f"Where is Paris?{typed}")
    assert (ids[0], ids[-1]) == (QUESTION, ANSWER)
    assert {PAD, QUESTION, ANSWER, END}.isdisjoint(ids[1:-1])


@given(text=st.text(max_size=60))
def test_any_text_makes_a_prompt_without_control_tokens(text: str) -> None:
    ids = ask(PocketModel.load("small"), text)
    assert {PAD, QUESTION, ANSWER, END}.isdisjoint(ids[1:-1])


def test_half_a_surrogate_pair_is_survived(small: PocketModel) -> None:
    assert ask(small, "x \ud800 y") == ask(small, "x ? y")


def test_a_prompt_that_leaves_no_room_is_refused_with_numbers(small: PocketModel) -> None:
    words = "Paris " * 600
    with pytest.raises(UpstreamError, match=r"context length is 512 tokens.* has \d+: ") as caught:
        ask(small, words)
    assert caught.value.status == 400
    assert "Paris" not in str(caught.value)
    with pytest.raises(UpstreamError, match="the prompt has 512"):
        small.generate([5] * 512, GREEDY)
    with pytest.raises(UpstreamError, match="the prompt has 513"):
        small.hidden_states([5] * 513)


@pytest.mark.parametrize("text", ["x" * 200_000, "Where is Paris? " * 12_500, "\U0001f600" * 200_000, "\n" * 200_000])
def test_a_message_of_200_000_characters_is_refused_at_once(small: PocketModel, text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(UpstreamError, match="at least"):
        ask(small, text)
    assert time.perf_counter() - began < 0.2


# --- what it generates -------------------------------------------------------------------------------------------


def test_greedy_with_cache_is_the_argmax_without(small: PocketModel) -> None:
    prompt = ask(small, UNKNOWN)
    (answer,) = small.generate(prompt, GREEDY)
    ids = list(prompt)
    for _ in range(12):
        scores = small.log_probabilities(ids)[-1]
        scores[[PAD, QUESTION, ANSWER]] = -np.inf
        ids.append(int(scores.argmax()))
        if ids[-1] == END:
            break
    assert list(answer.ids) == ids[len(prompt) :]


def test_token_logprobs_are_those_of_one_full_pass(small: PocketModel) -> None:
    prompt = ask(small, UNKNOWN)
    for answer in small.generate(prompt, Sampling(n=8, temperature=1.5, max_tokens=12, seed=5, top_logprobs=20)):
        ids = [token for token in answer.ids if token != END]
        full = small.log_probabilities([*prompt, *ids])
        expected = [full[len(prompt) - 1 + k] for k in range(len(ids))]
        assert answer.tokens is not None
        assert len(answer.tokens) == len(ids)
        total = sum(token.logprob for token in answer.tokens)
        assert total == pytest.approx(sum(row[i] for row, i in zip(expected, ids, strict=True)), abs=1e-3)
        for token, row in zip(answer.tokens, expected, strict=True):
            assert [p for _, p in token.top] == pytest.approx(np.sort(row)[::-1][:20].tolist(), abs=1e-3)


def test_tokens_join_to_the_text(small: PocketModel) -> None:
    (answer,) = small.generate(ask(small, "Which country is Paris in?"), GREEDY)
    assert answer.tokens is not None
    assert "".join(token.token for token in answer.tokens).removeprefix(" ") == answer.text
    assert answer.tokens[0].top[0] == (answer.tokens[0].token, answer.tokens[0].logprob)


def test_logprobs_are_given_only_when_asked_for(small: PocketModel) -> None:
    prompt = ask(small, UNKNOWN)
    assert small.generate(prompt, Sampling(temperature=0))[0].tokens is None
    (answer,) = small.generate(prompt, Sampling(temperature=0, max_tokens=1, top_logprobs=0))
    assert answer.tokens is not None
    assert all(token.top == () for token in answer.tokens)


def test_a_seed_repeats_and_rows_differ(small: PocketModel) -> None:
    prompt = ask(small, UNKNOWN)
    how = Sampling(n=64, seed=7, max_tokens=8)
    once = small.generate(prompt, how)
    assert small.generate(prompt, how) == once
    assert len({answer.ids for answer in once}) > 3
    assert small.generate(prompt, Sampling(n=64, seed=8, max_tokens=8)) != once
    unseeded = Sampling(n=64, max_tokens=8)
    assert small.generate(prompt, unseeded) != small.generate(prompt, unseeded)


def test_greedy_rows_are_equal(small: PocketModel) -> None:
    answers = small.generate(ask(small, UNKNOWN), Sampling(n=3, temperature=0))
    assert len(answers) == 3
    assert len(set(answers)) == 1


def test_rows_generated_in_turns_are_the_same_rows(small: PocketModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, how = ask(small, UNKNOWN), Sampling(n=7, seed=1, max_tokens=6)
    together = small.generate(prompt, how)
    monkeypatch.setattr(model_module, "_CACHED_TOKENS", 2 * (len(prompt) + 6))
    assert [a.ids for a in small.generate(prompt, how)] == [a.ids for a in together]


def test_samples_follow_the_models_distribution(small: PocketModel) -> None:
    prompt = ask(small, UNKNOWN)
    expected = np.exp(small.log_probabilities(prompt)[-1])
    drawn = [a.ids[0] for seed in range(8) for a in small.generate(prompt, Sampling(n=64, seed=seed, max_tokens=1))]
    for token in np.argsort(-expected)[:3]:
        spread = math.sqrt(expected[token] * (1 - expected[token]) / len(drawn))
        assert abs(drawn.count(int(token)) / len(drawn) - expected[token]) < 5 * spread + 1e-9


def test_a_narrow_nucleus_and_a_low_temperature_are_greedy(small: PocketModel) -> None:
    prompt = ask(small, UNKNOWN)
    (greedy,) = small.generate(prompt, Sampling(temperature=0))
    for how in (Sampling(n=9, top_p=1e-6), Sampling(n=9, temperature=1e-5), Sampling(n=9, temperature=1e-320)):
        assert {answer.ids for answer in small.generate(prompt, how)} == {greedy.ids}


def test_max_tokens_ends_with_length(small: PocketModel) -> None:
    for answer in small.generate(ask(small, UNKNOWN), Sampling(n=8, temperature=50, max_tokens=3, seed=2)):
        assert len(answer.ids) == 3 or answer.ids[-1] == END
        assert answer.finish_reason == ("stop" if answer.ids[-1] == END else "length")


def test_generation_ends_where_the_context_ends(small: PocketModel) -> None:
    prompt = [QUESTION, *[5] * 505, ANSWER]
    answers = small.generate(prompt, Sampling(n=4, temperature=50, seed=2))
    assert {answer.finish_reason for answer in answers} == {"length"}
    assert {len(answer.ids) for answer in answers} == {small.context - len(prompt)}


def test_a_stop_string_cuts_text_and_tokens_before_it(small: PocketModel) -> None:
    prompt = ask(small, UNKNOWN)
    how = Sampling(temperature=50, max_tokens=8, seed=3, top_logprobs=0)
    (whole,) = small.generate(prompt, how)
    assert len(whole.text) > 6
    stop = whole.text[5]
    (cut,) = small.generate(prompt, Sampling(temperature=50, max_tokens=8, seed=3, top_logprobs=0, stop=("\0", stop)))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert whole.tokens is not None
    assert cut.tokens is not None
    assert cut.tokens == whole.tokens[: len(cut.tokens)]
    assert len("".join(t.token for t in cut.tokens[:-1]).removeprefix(" ")) < max(len(cut.text), 1)
    assert len(cut.ids) <= len(whole.ids)


def test_cancelling_stops_between_two_tokens(small: PocketModel) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(UpstreamError, match="cancelled") as caught:
        small.generate(ask(small, UNKNOWN), Sampling(n=16, temperature=50, max_tokens=400), cancelled)
    assert asked == 4
    assert caught.value.status is None


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        (Sampling(n=0), "n must be"),
        (Sampling(temperature=-0.1), "temperature"),
        (Sampling(temperature=math.nan), "temperature"),
        (Sampling(top_p=0), "top_p"),
        (Sampling(top_p=1.5), "top_p"),
        (Sampling(max_tokens=0), "max_tokens"),
        (Sampling(stop=("a", "")), "stop string"),
        (Sampling(top_logprobs=21), "top_logprobs"),
        (Sampling(top_logprobs=-1), "top_logprobs"),
    ],
)
def test_options_out_of_range_are_refused(small: PocketModel, how: Sampling, cause: str) -> None:
    with pytest.raises(UpstreamError, match=cause) as caught:
        small.generate(ask(small, UNKNOWN), how)
    assert caught.value.status == 400


# --- what its numbers mean ---------------------------------------------------------------------------------------


def test_hidden_states_hold_the_embeddings_and_every_block(small: PocketModel) -> None:
    prompt = ask(small, "Where is Paris?")
    states = small.hidden_states(prompt)
    assert states.shape == (small.layers + 1, len(prompt), 160)
    assert np.isfinite(states).all()
    longer = small.hidden_states([*prompt, 9, 10])
    np.testing.assert_allclose(longer[:, : len(prompt)], states, rtol=1e-3, atol=1e-3)  # nothing sees the future
    repeated = small.hidden_states([9, 10, 9])
    np.testing.assert_array_equal(repeated[0, 0], repeated[0, 2])  # index 0 knows no position
    assert np.abs(repeated[-1, 0] - repeated[-1, 2]).max() > 1e-3


def test_log_probabilities_are_normalised(small: PocketModel) -> None:
    np.testing.assert_allclose(np.exp(small.log_probabilities(ask(small, UNKNOWN))).sum(axis=-1), 1, rtol=1e-9)
