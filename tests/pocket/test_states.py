"""Reading inside the pocket model: that it is the model that answers, and the answer that is read."""

from __future__ import annotations

import numpy as np
import pytest

from gate.hidden_states.block import NOTHING_READ
from gate.hidden_states.layout import ATTENTION, STABILITY
from gate.pocket.model import PocketModel
from gate.pocket.sampling import Sampling
from gate.pocket.states import places_of, read, reading, tensors
from gate.pocket.weights import SIZES, Size
from gate.types import Message

QUESTION = "Which city serves as capital of France?"


def prompt(model: PocketModel, text: str = QUESTION) -> list[int]:
    return model.encode_chat([Message("user", text)])


@pytest.mark.parametrize("size", SIZES)
def test_the_head_gives_the_models_own_probabilities(size: Size) -> None:
    """Lens and stability would be of another model if norm, weights or epsilon were not its own."""
    model = PocketModel.load(size)
    asked = prompt(model)
    answer = model.generate(asked, Sampling(temperature=0.0, top_logprobs=2))[0]
    assert answer.tokens is not None
    block = read(model, asked, answer.ids)
    weakest = dict(zip(STABILITY, block.stability[1].tolist(), strict=True))
    least = min(answer.tokens, key=lambda token: token.logprob)
    assert block.answer_tokens == len(answer.ids) - 1
    assert weakest["log_probability"] == pytest.approx(least.logprob, abs=1e-3)
    best, second = (np.exp(logprob) for _, logprob in least.top)
    assert weakest["probability_margin"] == pytest.approx(best - second, abs=1e-3)
    mean = sum(token.logprob for token in answer.tokens) / len(answer.tokens)
    assert -block.lens[0, -1, 1] == pytest.approx(mean, abs=1e-3)  # the last layer is what comes out


def test_an_answer_given_is_read_as_the_one_generated() -> None:
    model = PocketModel.load("small")
    asked = prompt(model)
    answer = model.generate(asked, Sampling(temperature=0.0))[0]
    assert answer.finish_reason == "stop"
    again = read(model, asked, model.encode_answer(f" {answer.text}\n"), given=True)
    np.testing.assert_allclose(again.numbers, read(model, asked, answer.ids).numbers, rtol=1e-3, atol=1e-3)


def test_an_answer_given_is_foretold_as_it_stands() -> None:
    model = PocketModel.load("small")
    asked = prompt(model)
    answer = model.generate(asked, Sampling(temperature=0.0))[0]
    other = read(model, asked, model.encode_answer("Ouagadougou"), given=True)
    place = STABILITY.index("log_probability")
    assert other.stability[0, place] < read(model, asked, answer.ids).stability[0, place] - 2
    assert other.stability[1, STABILITY.index("flip_radius")] == 0


def test_layers_are_the_models_and_the_two_sizes_are_told_apart() -> None:
    small, large = reading("small"), reading("large")
    assert (small[0].depth, small[0].width, small[0].layers) == (4, 160, (2, 4))
    assert (large[0].depth, large[0].width, large[0].layers) == (6, 256, (2, 3, 4, 6))
    assert small[2] != large[2]
    assert tensors("small")["model.embed_tokens.weight"].shape == (3072, 160)


def test_a_passage_is_looked_at_more_when_it_holds_the_answer() -> None:
    """Over twelve capitals, each with the passage that tells it and with that of another place."""
    model = PocketModel.load("large")
    places = ("Norway", "Chile", "Japan", "Kenya", "Peru", "Egypt", "Cuba", "Iraq", "Italy", "Spain", "Ghana", "Nepal")
    mass: dict[bool, list[float]] = {True: [], False: []}
    for number, place in enumerate(places):
        for telling in (True, False):
            subject = place if telling else places[number - 1]
            passage = f"The capital of {subject} is Lagomi."
            text = f"Passages: {passage}\nQuestion: Which city serves as capital of {place}?"
            asked, line = prompt(model, text), model.asked([Message("user", text)])
            answer = model.generate(asked, Sampling(temperature=0.0))[0]
            tokens = [at + 1 for at in places_of([passage], line, model.offsets(line))]
            attention = read(model, asked, answer.ids, passages=tokens).attention
            assert np.isfinite(attention).all()
            assert np.isnan(read(model, asked, answer.ids).attention).all()
            mass[telling].append(attention[ATTENTION.index("mass")])
    assert np.mean(mass[True]) > 1.05 * np.mean(mass[False]), (np.mean(mass[True]), np.mean(mass[False]))


def test_attention_is_a_distribution_over_what_came_before() -> None:
    model = PocketModel.load("small")
    asked = prompt(model)
    attention = model.inside(asked).attention
    assert attention.shape == (4, len(asked), len(asked))
    np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-4)
    assert np.triu(attention, 1).max() < 1e-6


def test_places_of_a_text_are_those_of_its_tokens() -> None:
    assert places_of(["bc", "bc"], "a bc d", [(0, 1), (1, 3), (3, 4), (4, 6)]) == [1, 2]
    assert places_of(["x", ""], "a bc d", [(0, 1), (1, 4)]) == []


def test_nothing_taken_in_is_said() -> None:
    model = PocketModel.load("small")
    with pytest.raises(ValueError, match="took in no token") as caught:
        read(model, prompt(model), [5])
    assert str(caught.value) == NOTHING_READ
