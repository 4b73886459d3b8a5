"""Fitting probes: each finds what is planted for it, none finds what is not there, and none reads what it saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from gate.calibration.metrics import auroc
from gate.evidence.probe_models import arrays
from gate.evidence.probes import PROBES, Probes
from gate.evidence.reference_pool import question_key
from gate.hidden_states.layout import Layout
from gate.tuning import encoder, probe_parts, probes
from gate.tuning.probes import FEWEST, FEWEST_OF_EACH, ProbeExample, fit_probes
from tests.evidence.probed import LAYOUT, MODEL, ROUND, block, telling


def answers(n: int, seed: int = 0, *, shown: float = 2.0, at: str = "states", share: float = 0.6) -> list[ProbeExample]:
    """Right where a part of the block says so by ``shown``; low entropy shows in another place of the states."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        correct, low = bool(rng.random() < share), bool(rng.random() < 0.5)
        one = telling(rng, shown * (correct - 0.5), at)
        one.states[:, 1:, 2] += shown * (low - 0.5)
        entropy = rng.random() * 0.3 + (0.0 if low else 1.0)
        certainty = float(rng.normal()) + 0.6 * correct
        made.append(ProbeExample(f"Question {seed}.{number}?", ROUND, one, correct, certainty, entropy))
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps and choices: what is planted here is plain."""
    monkeypatch.setattr(encoder, "_EPOCHS", 15)
    monkeypatch.setattr(probe_parts, "PENALTIES", (3.0, 0.3, 0.03))


@cache
def planted() -> Probes:
    return fitted(answers(300))


@cache
def noise() -> tuple[list[ProbeExample], Probes]:
    rows = answers(400, shown=0.0, share=0.7)
    return rows, fitted(rows)


def fitted(examples: Sequence[ProbeExample]) -> Probes:
    made = fit_probes(examples)
    assert made is not None
    return made


def read(held: Probes, examples: Sequence[ProbeExample], name: str) -> np.ndarray:
    return np.array([held.read(each.round_key, each.question, each.block)[name] for each in examples])


def ranks(held: Probes, examples: Sequence[ProbeExample], name: str) -> float:
    found = auroc(read(held, examples, name).tolist(), [each.correct for each in examples])
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["linear", "contrastive", "certain_error"])
def test_what_states_show_is_found_and_holds_for_new_questions_as_it_does_out_of_fold(name: str) -> None:
    assert list(planted().rounds[ROUND].probes) == list(PROBES)
    for judged in (answers(300), answers(200, seed=1)):
        assert ranks(planted(), judged, name) > 0.85


def test_what_stability_shows_is_found_by_its_probe_alone() -> None:
    rows = answers(300, at="stability")
    held = fitted(rows)
    assert ranks(held, rows, "stability") > 0.85
    assert ranks(held, rows, "linear") < 0.65


def test_what_attention_shows_is_found_whichever_way_it_points() -> None:
    for shown in (3.0, -3.0):
        rows = answers(300, at="attention", shown=shown)
        assert ranks(fitted(rows), rows, "attention") > 0.85


def test_the_semantic_entropy_probe_foretells_low_entropy() -> None:
    new = answers(200, seed=1)
    z = read(planted(), new, "semantic_entropy")
    low = [each.semantic_entropy < 0.5 for each in new]
    assert auroc(z.tolist(), low) > 0.85
    assert 0.35 < auroc(z.tolist(), [each.correct for each in new]) < 0.65


@pytest.mark.parametrize("name", PROBES)
def test_of_noise_nothing_is_learned(name: str) -> None:
    rows, held = noise()
    assert 0.4 < ranks(held, rows, name) < 0.6
    z = read(held, rows, name)
    base = 0.0 if name == "semantic_entropy" else math.log(0.7 / 0.3)
    assert z.std() < 0.2
    assert z.mean() == pytest.approx(base, abs=0.3)


def test_wrong_and_certain_answers_are_told_better_by_their_own_probe() -> None:
    rows = certain_and_uncertain(600, seed=0)
    held = fitted(rows)
    new = certain_and_uncertain(600, seed=1)
    sure = [each for each in new if each.certainty is not None and each.certainty > 0.5]
    assert ranks(held, sure, "certain_error") > ranks(held, sure, "linear") + 0.1
    for name in ("certain_error", "linear"):
        assert (1 / (1 + np.exp(-read(held, new, name)))).mean() == pytest.approx(0.5, abs=0.06)


def certain_and_uncertain(n: int, seed: int) -> list[ProbeExample]:
    """One error of ten is certain: value 0 of the states tells the others, value 1 these, and it misleads on others."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        correct, certain = bool(rng.random() < 0.5), bool(rng.random() < 0.1)
        one = telling(rng, 0.0, "states")
        one.states[0, 0, 0] += 0.0 if correct else (1.5 if certain else -3.0)
        one.states[0, 0, 1] -= 0.0 if correct or not certain else 2.0
        certainty = float(rng.random()) / 2 + (0.5 if correct or certain else 0.0)
        made.append(ProbeExample(f"{seed}.{number}", ROUND, one, correct, certainty, None))
    return made


def test_no_model_that_reads_a_question_saw_it() -> None:
    rows = answers(160)
    asked = rows[7]
    turned = [replace(each, correct=not each.correct, certainty=0.99) if each is asked else each for each in rows]
    with pytest.MonkeyPatch.context() as patch:  # which fold a question is in depends on all labels
        patch.setattr(probes, "_places", lambda rounds, seed: places)
        patch.setattr(probes, "_smoothed", lambda right: 0.6)  # the share of right answers is that of all
        places = {question_key(each.question): (n % 5, n // 5 % 4) for n, each in enumerate(rows)}
        one, other = fitted(rows), fitted(turned)
    own = 1 + 7 % 5
    for name in PROBES:
        for array, changed in zip(
            arrays(one.rounds[ROUND].probes[name]).values(),
            arrays(other.rounds[ROUND].probes[name]).values(),
            strict=True,
        ):
            np.testing.assert_array_equal(array[own], changed[own])
    assert one.read(ROUND, asked.question, asked.block) == other.read(ROUND, asked.question, asked.block)
    new = "a question that is not in the file"
    assert one.read(ROUND, new, asked.block) != other.read(ROUND, new, asked.block)


def test_folds_have_their_share_of_right_answers_in_every_round() -> None:
    rows = [
        replace(each, round_key=key, correct=number % 3 > place)
        for number, each in enumerate(answers(150))
        for place, key in enumerate((ROUND, "small/with_passages"))
    ]
    held = fitted(rows)
    assert list(held.rounds) == [ROUND, "small/with_passages"]
    fold = dict(zip(held.keys.tolist(), held.folds.tolist(), strict=True))
    for key in held.rounds:
        right = [fold[question_key(each.question)] for each in rows if each.round_key == key and each.correct]
        counts = np.bincount(right, minlength=5)
        assert counts.max() - counts.min() <= 1


def test_the_same_examples_give_the_same_probes_in_any_order_of_questions() -> None:
    rows = answers(110)
    known = fitted(rows)
    assert fitted(rows) == known
    assert fitted(rows[::-1]).dump() == known.dump()
    assert fit_probes(rows, seed=1) != known


def test_no_text_of_a_question_is_in_the_file_and_every_question_of_a_round_has_its_key() -> None:
    assert b"Question" not in planted().dump()
    assert set(planted().keys.tolist()) == {question_key(each.question) for each in answers(300)}


def test_too_few_or_all_alike_make_no_probes() -> None:
    rows = answers(FEWEST)
    assert fit_probes(rows) is not None
    assert fit_probes(rows[1:]) is None
    assert fit_probes([replace(each, correct=True) for each in rows]) is None
    few = [replace(each, correct=number >= FEWEST_OF_EACH - 1) for number, each in enumerate(rows)]
    assert fit_probes(few) is None
    assert fit_probes([]) is None


def without(n: int, **what: object) -> list[ProbeExample]:
    rows = answers(140)
    return [*rows[:n], *(replace(each, **what) for each in rows[n:])]  # type: ignore[arg-type]


def test_a_probe_is_absent_where_too_few_answers_hold_what_it_needs() -> None:
    def names(rows: Sequence[ProbeExample]) -> list[str]:
        return list(fitted(rows).rounds[ROUND].probes)

    for field, name, enough in (("semantic_entropy", "semantic_entropy", FEWEST), ("certainty", "certain_error", 135)):
        for nothing in (None, math.nan):
            assert names(without(FEWEST - 1, **{field: nothing})) == [other for other in PROBES if other != name]
        assert name in names(without(enough, **{field: None}))
    assert "semantic_entropy" not in names(without(0, semantic_entropy=0.5)), "all are the same"
    assert "certain_error" not in names(without(0, certainty=0.5)), "no error is certain"
    assert "stability" not in names(without(FEWEST - 1, block=lacking("stability")))
    assert "stability" in names(without(FEWEST, block=lacking("lens")))


def lacking(part: str) -> object:
    one = block()
    getattr(one, part)[:] = math.nan
    return one


def test_answers_of_another_model_or_layout_and_states_that_are_no_number_are_left_out() -> None:
    rows = answers(120)
    strange = [
        replace(rows[0], question="a", block=block(model="another")),
        replace(rows[0], question="b", block=block(layout=Layout(4, 6, (1, 4)))),
        replace(rows[0], question="c", block=lacking("states")),
    ]
    assert fitted([*strange, *rows]) == fitted(rows)
    assert fitted(rows).rounds[ROUND].model == MODEL
    assert fitted(rows).rounds[ROUND].layout == LAYOUT


def test_of_too_many_answers_whole_questions_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = answers(150)
    monkeypatch.setattr(probes, "LARGEST", 241)
    held = fitted([*rows, *(replace(each, correct=not each.correct) for each in rows)])
    assert len(held.keys) == 120


def test_progress_says_what_is_fitted() -> None:
    said: list[str] = []
    fit_probes(answers(FEWEST), progress=said.append)
    assert said == [f"fitting probes of {ROUND}: {name}" for name in PROBES]
