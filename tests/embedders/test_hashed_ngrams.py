"""The embedder that needs nothing: unit vectors, close for texts that share words."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.effects import Embed
from gate.embedders import HashedNgrams
from gate.errors import UpstreamError
from gate.ports import Price

EMBEDDER = HashedNgrams("hashed")
ASKED = "Where is the city of Lagos?"


def one(text: str) -> npt.NDArray[np.float64]:
    return EMBEDDER.embed([text])[0]


@given(st.text(max_size=40))
def test_a_vector_has_unit_length_or_is_nought_for_text_without_words(text: str) -> None:
    vector = one(text)
    assert vector.shape == (512,)
    length = float(np.linalg.norm(vector))
    assert length == pytest.approx(1.0) if text.split() else length == 0.0 or not text.strip()


def test_texts_that_share_words_are_closer_than_texts_that_do_not() -> None:
    asked, again, other = (one(t) for t in (ASKED, "Lagos: where is that city?", "Who wrote Hamlet?"))
    assert asked @ again > 0.5 > 0.2 > asked @ other


@pytest.mark.parametrize("twin", ["where is the  city of lagos?", "WHERE IS THE CITY OF LAGOS?", f" {ASKED}\n"])
def test_case_and_spacing_make_no_difference(twin: str) -> None:
    assert one(twin) == pytest.approx(one(ASKED))


def test_unrelated_texts_are_nearly_orthogonal_on_average() -> None:
    rng = np.random.default_rng(0)
    made = [one(" ".join("".join(map(chr, rng.integers(97, 123, 7))) for _ in range(8))) for _ in range(60)]
    cosines = np.array([a @ b for i, a in enumerate(made) for b in made[:i]])
    assert abs(float(cosines.mean())) < 0.01  # signs cancel: hashing is unbiased
    assert float(np.abs(cosines).max()) < 0.3


@pytest.mark.parametrize("text", ["\ud83d", "نعم", "東京はどこですか", "🦁", "x" * 100_000, "\0"])
def test_text_of_any_kind_has_a_vector(text: str) -> None:
    assert np.linalg.norm(one(text)) == pytest.approx(1.0)


def test_another_process_makes_the_same_vector() -> None:
    code = f"from gate.embedders import HashedNgrams; print(HashedNgrams('x').embed([{ASKED!r}])[0].argmax())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) == int(one(ASKED).argmax())


def test_it_embeds_each_text_and_stops_when_cancelled() -> None:
    made = EMBEDDER.complete(Embed("hashed", ("a", "b", "a")), lambda: False)
    assert made.rows[0] == made.rows[2] != made.rows[1]
    with pytest.raises(UpstreamError, match="cancelled"):
        EMBEDDER.complete(Embed("hashed", ("a",)), lambda: True)


def test_its_fingerprint_changes_with_its_dimensions_alone() -> None:
    small = HashedNgrams.from_options("other", HashedNgrams.Options(dimensions=64), Price())
    assert small.embed(["a"]).shape == (1, 64)
    assert small.fingerprint != EMBEDDER.fingerprint == HashedNgrams("x").fingerprint
    with pytest.raises(ValidationError):
        HashedNgrams.Options(dimensions=8)


@given(st.lists(st.text(max_size=12), max_size=5))
def test_a_text_has_the_same_vector_alone_and_among_others(texts: list[str]) -> None:
    together = EMBEDDER.embed(texts)
    assert together.shape == (len(texts), 512)
    for text, row in zip(texts, together, strict=True):
        assert row == pytest.approx(one(text))
