"""Watching a draft while it is written: what is released, when it is stopped, and that pieces make no difference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.prefix import AskedAt, PrefixCalibrator
from gate.prefix_watch import HeldBack, PrefixWatch, positions_of, whole_wanted
from gate.serving_settings import PrefixSettings
from gate.types import Generation, TokenLogprob
from tests.calibration.test_prefix import ROUND, calibrator, weights

SETTINGS = PrefixSettings(release_at=0.8, stop_below=0.2)
FLAT = weights(weight=0.0, low=-60.0)
COUNTS = weights(scale=0.25, low=-60.0, missing=0.0).signals["logprob_mean"]
RECENT = calibrator(
    edges=(0,),
    rounds={ROUND: (FLAT.model_copy(update={"signals": {**FLAT.signals, "recent_logprob_min": COUNTS}}),)},
)
"""Sure where every token of the last sentence has a log-probability above -1, and not below."""
SURE, UNSURE, DOOMED = -0.1, -1.0, -5.0


def sentence(text: str, logprob: float) -> list[TokenLogprob]:
    """A token a word, the first of which says how sure it is."""
    words = [piece if place == 0 else f" {piece}" for place, piece in enumerate(text.split(" "))]
    return [TokenLogprob(word, logprob if place == 0 else -0.05) for place, word in enumerate(words)]


def draft(*sentences: tuple[str, float]) -> Generation:
    tokens: list[TokenLogprob] = []
    for place, (text, logprob) in enumerate(sentences):
        made = sentence(text, logprob)
        tokens += [TokenLogprob(" " + made[0].token, made[0].logprob), *made[1:]] if place else made
    return Generation("".join(token.token for token in tokens), tokens=tuple(tokens))


def watched(watch: PrefixWatch, generation: Generation) -> list[tuple[str, bool]]:
    """Token by token: what is released with each, and whether to stop."""
    seen = [watch.grew(token.token, (token,)) for token in generation.tokens or ()]
    watch.ended()
    return [(each.release, each.stop) for each in seen]


def released(watch: PrefixWatch, generation: Generation) -> list[str]:
    return [release for release, _ in watched(watch, generation) if release]


def test_whole_sentences_are_released_once_they_are_safe() -> None:
    watch = PrefixWatch(RECENT, SETTINGS, ROUND)
    said = draft(("It is so.", SURE), ("Or is it?", UNSURE), ("It is not.", SURE), ("Well then", SURE))
    assert released(watch, said) == ["It is so.", " Or is it? It is not."]
    assert (watch.released, watch.stopped, watch.held_back) == (30, False, "")
    assert watch.p is not None


def test_what_was_released_is_in_the_first_piece_that_shows_its_end() -> None:
    watch = PrefixWatch(RECENT, SETTINGS, ROUND)
    first, second = sentence("It is so.", SURE), TokenLogprob(" Then", SURE)
    assert [watch.grew(token.token, (token,)).release for token in first] == ["", "", ""]
    assert watch.grew(second.token, (second,)).release == "It is so."


def test_a_doomed_answer_is_stopped_and_nothing_more_of_it_is_released() -> None:
    watch = PrefixWatch(RECENT, SETTINGS, ROUND)
    said = draft(("It is so.", SURE), ("It is not.", DOOMED), ("It is so.", SURE), ("Well", SURE))
    seen = watched(watch, said)
    assert [release for release, _ in seen if release] == ["It is so."]
    assert [stop for _, stop in seen] == [False] * 6 + [True] * 4
    assert watch.stopped
    assert watch.p is not None
    assert watch.p < 0.2
    assert watch.grew(" More.", ()) == watch.grew("", ())


def test_in_one_piece_what_came_before_the_stop_is_released_with_it() -> None:
    watch = PrefixWatch(RECENT, SETTINGS, ROUND)
    said = draft(("It is so.", SURE), ("It is not.", DOOMED), ("It is so.", SURE), ("Well", SURE))
    seen = watch.grew(said.text, said.tokens or ())
    assert (seen.release, seen.stop) == ("It is so.", True)


def test_the_last_sentence_waits_for_the_verdict() -> None:
    watch = PrefixWatch(RECENT, SETTINGS, ROUND)
    assert released(watch, draft(("It is so.", SURE))) == []
    assert watch.p is not None
    assert watch.p > 0.8, "of the whole"


def test_thresholds_at_the_ends_are_never_reached() -> None:
    never = PrefixSettings(release_at=1.0, stop_below=0.0)
    seen = watched(PrefixWatch(RECENT, never, ROUND), draft(("It.", SURE), ("It.", -50.0), ("It.", SURE), ("So", SURE)))
    assert seen == [("", False)] * 4


def test_confidence_is_smoothed_by_what_came_before() -> None:
    slow = RECENT.model_copy(update={"newest": 0.5})
    said = draft(("It is so.", UNSURE), ("It is so.", SURE), ("So", SURE))
    assert released(PrefixWatch(RECENT, SETTINGS, ROUND), said) == ["It is so. It is so."]
    assert released(PrefixWatch(slow, SETTINGS, ROUND), said) == []


# --- where nothing can be told -----------------------------------------------------------------------------------


def without_tokens(said: Generation) -> Generation:
    return Generation(said.text, tokens=tuple(TokenLogprob(t.token, math.nan) for t in said.tokens or ()))


@pytest.mark.parametrize(
    ("arguments", "said", "why"),
    [
        ({"calibrator": None}, None, "not_fitted"),
        ({"round_key": "large/closed_book"}, None, "not_fitted"),
        ({"whole": True}, None, "whole_wanted"),
        ({}, without_tokens, "no_logprobs"),
    ],
)
def test_the_mode_degrades_to_hold(arguments: dict[str, Any], said: Any, why: HeldBack) -> None:
    given_ = {"calibrator": RECENT, "settings": SETTINGS, "round_key": ROUND} | arguments
    watch = PrefixWatch(**given_)
    generation = draft(("It is so.", SURE), ("No.", DOOMED), ("It is so.", SURE), ("So", SURE))
    assert watched(watch, said(generation) if said else generation) == [("", False)] * 8
    assert (watch.held_back, watch.p, watch.released) == (why, None, 0)


def test_text_without_tokens_is_held_back() -> None:
    watch = PrefixWatch(RECENT, SETTINGS, ROUND)
    assert watch.held_back == ""
    assert watch.grew("It is so. It is so. So").release == ""
    watch.ended()
    assert (watch.held_back, watch.p) == ("no_logprobs", None)


def test_a_reading_never_seen_neither_releases_nor_stops() -> None:
    seen = watched(PrefixWatch(RECENT, SETTINGS, ROUND), draft(("It is so.", -500.0), ("It.", SURE), ("So", SURE)))
    assert seen[:4] == [("", False)] * 4


@pytest.mark.parametrize(
    ("options", "whole"),
    [
        ({}, False),
        ({"tools": []}, False),
        ({"tools": [{"type": "function"}]}, True),
        ({"functions": [{}]}, True),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, True),
        ({"response_format": "json"}, False),
        ({"guided_regex": "a+"}, True),
    ],
)
def test_what_is_of_use_only_as_a_whole(options: dict[str, Any], whole: bool) -> None:
    assert whole_wanted(options) is whole


# --- positions ---------------------------------------------------------------------------------------------------

SAID = draft(("It is so.", SURE), ("Or is it?", UNSURE), ("Well", SURE))


def test_positions_by_sentences_tokens_and_entropy() -> None:
    def places(asked_at: AskedAt, said: Generation = SAID) -> list[tuple[int, int]]:
        found = positions_of(said, asked_at)
        assert [position.last for position in found] == [False] * (len(found) - 1) + [True]
        return [(position.at, position.tokens) for position in found]

    assert places(AskedAt(positions="sentence")) == [(9, 3), (19, 6), (24, 7)]
    assert places(AskedAt(positions="tokens", every=2)) == [(0, 2), (9, 4), (9, 6), (24, 7)]
    flat = tuple((f"x{i}", math.log(0.2)) for i in range(5))
    doubtful = [TokenLogprob(t.token, t.logprob, flat if place in (1, 4) else ((t.token, t.logprob), ("x", -30)))
                for place, t in enumerate(SAID.tokens or ())]  # fmt: skip
    entropy = AskedAt(positions="entropy", entropy=1.5)
    assert places(entropy, Generation(SAID.text, tokens=tuple(doubtful))) == [(0, 2), (9, 5), (24, 7)]
    assert places(entropy) == [(24, 7)], "without alternatives there is no entropy"
    assert positions_of(Generation("It is."), entropy) == ()


# --- properties --------------------------------------------------------------------------------------------------

WORDS = ("It", " is", " so", ".", "!", "\n", " e.g.", "。", " 3", ".5", " No", " I", '."', "```\n", "\n- ", "")
TOKENS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from((SURE, UNSURE, DOOMED))), max_size=40)
CUTS = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 40)), max_size=12)
POSITIONS = st.sampled_from(
    (
        PrefixSettings(release_at=0.8, stop_below=0.2),
        PrefixSettings(release_at=0.6, stop_below=0.0),
        PrefixSettings(release_at=0.8, stop_below=0.01, positions="tokens", every=1),
        PrefixSettings(release_at=0.8, stop_below=0.01, positions="tokens", every=3),
    )
)


def in_pieces(
    watch: PrefixWatch, text: str, tokens: Sequence[TokenLogprob], cuts: Iterable[tuple[int, int]]
) -> list[str]:
    """What is released, the text and the tokens cut at these places each."""
    by_text = sorted((min(a, len(text)), min(b, len(tokens))) for a, b in cuts)
    made, done = list[str](), 0
    for (a, _), (b, upto) in pairwise([(0, 0), *by_text, (len(text), len(tokens))]):
        upto = max(done, upto)
        seen = watch.grew(text[a:b], tokens[done:upto])
        made, done = [*made, seen.release], upto
    watch.ended()
    return made


def fitted_at(settings: PrefixSettings) -> PrefixCalibrator:
    return RECENT.model_copy(update={"asked_at": AskedAt.of(settings)})


@given(TOKENS, CUTS, POSITIONS)
def test_releases_are_a_prefix_of_the_text_and_pieces_make_no_difference(
    said: list[tuple[str, float]], cuts: list[tuple[int, int]], settings: PrefixSettings
) -> None:
    tokens = [TokenLogprob(word, logprob) for word, logprob in said]
    text = "".join(word for word, _ in said)
    whole, piecemeal = (PrefixWatch(fitted_at(settings), settings, ROUND) for _ in range(2))
    at_once = "".join(in_pieces(whole, text, tokens, []))
    made = "".join(in_pieces(piecemeal, text, tokens, cuts))
    assert made == at_once == text[: len(made)]
    assert (piecemeal.released, piecemeal.stopped, piecemeal.p) == (len(made), whole.stopped, whole.p)


@given(TOKENS, CUTS, POSITIONS)
def test_nothing_is_released_below_release_at_nor_stopped_but_below_stop_below(
    said: list[tuple[str, float]], cuts: list[tuple[int, int]], settings: PrefixSettings
) -> None:
    tokens = [TokenLogprob(word, logprob) for word, logprob in said]
    text = "".join(word for word, _ in said)
    watch = PrefixWatch(fitted_at(settings), settings, ROUND)
    in_pieces(watch, text, tokens, cuts)
    made = fitted_at(settings)
    allowed, stop = 0, False
    for position in positions_of(Generation(text, tokens=tuple(tokens)), AskedAt.of(settings)):
        if position.values is None or position.last or stop:
            continue
        p = made.probability(position.values, position.tokens, ROUND)
        if p is None:  # of readings beyond those it was fitted on
            continue
        stop = p < settings.stop_below
        allowed = position.at if p >= settings.release_at and not stop else allowed
    assert watch.released == allowed
    # a position that only the end of the text shows comes too late to stop anything
    assert watch.stopped <= stop


@given(TOKENS, CUTS)
def test_of_what_is_wanted_whole_nothing_is_released(
    said: list[tuple[str, float]], cuts: list[tuple[int, int]]
) -> None:
    tokens = [TokenLogprob(word, logprob) for word, logprob in said]
    watch = PrefixWatch(RECENT, SETTINGS, ROUND, whole=True)
    assert set(in_pieces(watch, "".join(word for word, _ in said), tokens, cuts)) <= {""}
    assert not watch.stopped
