"""Labelling a collection: by graders, by people, and what looks wrong."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.drivers import World
from gate.effects import Generate
from gate.errors import ConfigError, UnknownName, UpstreamError
from gate.guarantees.label_noise import JudgeError
from gate.tuning.collection import Collected, Collection, Label
from gate.tuning.examples import Example
from gate.tuning.grade import (
    GradeReport,
    draw_sample,
    grade,
    has_sample,
    label_rows,
    measured_judge,
    suspect_rows,
    take_labels,
    uncited,
)
from gate.tuning.grading import GRADERS, ModelGrader
from gate.tuning.grading.applying import AnyGrader, grader
from gate.tuning.label_files import LabelRow, read_label_rows, read_labels, write_labels
from gate.types import Cost, Question
from tests.scripted import Answer, Scripted, world_of
from tests.tuning.collected import collection_in, country_of, gateway_of, label, policy_in

PURE = [kind.name for kind in GRADERS if kind is not ModelGrader]
MODEL = ModelGrader(upstream="judge")


def held(folder: Path, *answered: tuple[Example, dict[str, str]]) -> Collection:
    """Questions with the drafts of their rounds."""
    collection = Collection.create(folder / "c.db")
    collection.add(example for example, _ in answered)
    for place, (_, answers) in zip(collection.todo(), answered, strict=True):
        collection.finish(place, (), answers, Cost(1))
    return collection


def one(id_: str, reference: str | None, *answers: str, **fields: Any) -> tuple[Example, dict[str, str]]:
    references = () if reference is None else (reference,)
    example = Example(id_, Question.from_text(f"What is {id_}?"), references, **fields)
    return example, {f"round{place}": answer for place, answer in enumerate(answers)}


def run(collection: Collection, by: AnyGrader, world: World | None = None, **how: Any) -> GradeReport:
    return asyncio.run(grade(collection, by, world or World({}), **how))


def judge(says: Callable[[str], Answer]) -> tuple[Scripted, World]:
    """A judge that is told the answer alone."""

    def verdict(effect: Generate, place: int) -> Answer:
        return says(effect.messages[-1].content)

    made = Scripted("judge", verdict)
    return made, world_of({"judge": made})


# --- graders -----------------------------------------------------------------------------------------------------

RIGHT_AND_WRONG = {
    "auto": ("Paris", "Paris.", "Rome"),
    "exact": ("Paris", "paris", "Rome"),
    "contains": ("Paris", "It is Paris.", "It is Rome."),
    "number": ("12 km", "about 12 km", "13 km"),
    "date": ("12 March 2020", "2020-03-12", "2020-03-13"),
    "token_f1": ("the big red house", "big red house", "a green car"),
    "rouge_l": ("the big red house", "big red house", "a green car"),
    "choice": ("B", "The answer is B.", "The answer is C."),
}


@pytest.mark.parametrize("name", PURE)
def test_every_grader_labels_what_is_right_wrong_and_open(tmp_path: Path, name: str) -> None:
    reference, right, wrong = RIGHT_AND_WRONG[name]
    answered = [one("a", reference, right, wrong, right), one("b", None, "who knows")]
    with held(tmp_path, *answered) as collection:
        steps: list[int] = []
        done = run(collection, grader(name), progress=lambda: steps.append(1))
        assert done == GradeReport(answers=3, right=1, wrong=1, open=1, by_people=0, failed=0, why="", cost=Cost())
        assert len(steps) == 3
        first, second = collection.collected()
        assert (first.correct(right), first.correct(wrong)) == (True, False)
        assert second.labels["who knows"].correct is None
        for found in (*first.labels.values(), *second.labels.values()):
            assert found.grader == name
            assert found.reason
            assert not found.human


def test_a_round_that_gave_no_answer_is_no_question_for_a_grader(tmp_path: Path) -> None:
    with held(tmp_path, one("a", "Paris", "")) as collection:
        assert run(collection, grader("exact")).wrong == 1  # to say nothing is not to be right


def test_nothing_is_graded_twice_unless_asked_or_by_another(tmp_path: Path) -> None:
    with held(tmp_path, one("a", "Paris", "Paris", "Rome")) as collection:
        steps: list[int] = []
        count: Callable[[], None] = lambda: steps.append(1)  # noqa: E731
        for by, again, graded in (("exact", False, 2), ("exact", False, 0), ("exact", True, 2), ("contains", False, 2)):
            steps.clear()
            run(collection, grader(by), again=again, progress=count)
            assert len(steps) == graded


def test_a_collection_without_answers_is_graded_at_once(tmp_path: Path) -> None:
    with held(tmp_path) as collection:
        assert run(collection, grader("auto")) == GradeReport(0, 0, 0, 0, 0, 0, "", Cost())


# --- the model grader --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_judge_is_asked_once_an_answer_and_paid(tmp_path: Path, concurrency: int) -> None:
    upstream, world = judge(lambda prompt: "CORRECT" if "Paris" in prompt.split("nswer")[-1] else "INCORRECT")
    answered = [one(f"q{i}", "Paris", "Paris", f"Rome {i}", "Paris") for i in range(12)]
    with held(tmp_path, *answered) as collection:
        done = run(collection, MODEL, world, concurrency=concurrency)
        assert len(upstream.asked) == 24
        assert done.cost.calls == 24
        assert done.cost.money == pytest.approx(24 * (10 * 1.0 + 3 * 2.0) / 1e6)
        assert (done.answers, done.right + done.wrong, done.failed) == (24, 24, 0)
        assert {found.grader for row in collection.collected() for found in row.labels.values()} == {"model"}


def test_what_a_judge_fails_at_is_left_for_another_run_which_asks_for_that_alone(tmp_path: Path) -> None:
    def flaky(prompt: str) -> Answer:
        return UpstreamError("judge", "is busy") if "Rome" in prompt else "CORRECT"

    upstream, world = judge(flaky)
    with held(tmp_path, one("a", "Paris", "Paris", "Rome"), one("b", "Paris", "Rome", "Oslo")) as collection:
        done = run(collection, MODEL, world)
        assert (done.right, done.open, done.failed) == (2, 2, 2)
        assert done.why == "upstream 'judge': is busy"
        assert done.cost.calls == 4  # those that failed were made, too
        upstream, world = judge(lambda prompt: "UNSURE")
        done = run(collection, MODEL, world)
        assert (done.right, done.open, done.failed, done.why, len(upstream.asked)) == (2, 2, 0, "", 2)
        assert not run(collection, MODEL, world).cost.calls  # a judge that cannot tell has told


def test_grading_that_is_called_off_keeps_what_was_graded(tmp_path: Path) -> None:
    upstream, world = judge(lambda prompt: "CORRECT")
    upstream.seconds = 0.02
    with held(tmp_path, *(one(f"q{i}", "Paris", "Paris") for i in range(30))) as collection:

        async def called_off() -> None:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(grade(collection, MODEL, world, concurrency=2))
                while len(upstream.asked) < 7:
                    await asyncio.sleep(0.001)
                task.cancel()
            assert task.cancelled()

        asyncio.run(called_off())
        kept = sum(bool(row.labels) for row in collection.collected())
        assert 5 <= kept < 30
        again, world = judge(lambda prompt: "CORRECT")
        assert run(collection, MODEL, world).right == 30
        assert len(again.asked) == 30 - kept


def test_a_judge_that_is_not_there_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    with held(tmp_path, one("a", "Paris", "Paris")) as collection, pytest.raises(UnknownName, match="'judge'"):
        run(collection, MODEL, World({}))


# --- people ------------------------------------------------------------------------------------------------------


def test_what_people_say_stands_whatever_graders_say_later(tmp_path: Path) -> None:
    with held(tmp_path, one("a", "Paris", "City of Light", "Rome")) as collection:
        run(collection, grader("exact"))
        assert take_labels(collection, {("a", "City of Light"): True, ("a", "Rome"): False}, {}) == 1
        for again in (False, True):
            done = run(collection, grader("exact"), again=again)
            assert (done.right, done.wrong, done.by_people) == (1, 1, 2)
        (row,) = collection.collected()
        assert row.labels["City of Light"] == Label(True, "person", human=True)
        assert collection.labels_of("a", human=False)["City of Light"].correct is False


def test_a_label_that_came_with_the_question_is_a_persons(tmp_path: Path) -> None:
    logged = one("a", "Paris", "City of Light", logged_answer="City of Light", logged_correct=True)
    with held(tmp_path, logged, one("b", "Paris", "Paris", logged_answer="Paris")) as collection:
        done = run(collection, grader("exact"))
        assert (done.right, done.wrong, done.by_people) == (2, 0, 1)


def test_what_a_person_says_later_stands_over_what_came_with_the_question(tmp_path: Path) -> None:
    with held(tmp_path, one("a", "Paris", "Rome", logged_answer="Rome", logged_correct=True)) as collection:
        assert run(collection, grader("exact")).right == 1
        assert take_labels(collection, {("a", "Rome"): False}, {("a", "Rome"): "ann"}) == 1
        assert run(collection, grader("exact"), again=True).wrong == 1
        assert next(collection.collected()).labels["Rome"] == Label(False, "ann", human=True)


def test_a_label_that_is_mended_in_the_file_of_questions_is_taken(tmp_path: Path) -> None:
    example, answers = one("a", "Paris", "Rome", logged_answer="Rome", logged_correct=True)
    with held(tmp_path, (example, answers)) as collection:
        run(collection, grader("exact"))
        collection.add([one("a", "Paris", "Rome", logged_answer="Rome", logged_correct=False)[0]])
        assert run(collection, grader("exact")).wrong == 1


@pytest.mark.parametrize("key", [("a", "paris"), ("b", "Paris"), ("a", "")])
def test_labels_of_answers_nobody_gave_are_refused_and_none_is_taken(tmp_path: Path, key: tuple[str, str]) -> None:
    with held(tmp_path, one("a", "Paris", "Paris")) as collection:
        with pytest.raises(ConfigError, match=f"1 labels are of answers that are not .* question {key[0]!r}: was the"):
            take_labels(collection, {("a", "Paris"): False, key: True}, {})
        assert not next(collection.collected()).labels


def test_labels_go_out_to_a_file_and_come_back_from_it(tmp_path: Path) -> None:
    answers = ("Paris", "=1+1", "'quoted\n", "\U0001f98a \ud800", 'a,b;\t"c"')
    with held(tmp_path, one("a", "Paris", *answers), one("\ud83e", None, "x")) as collection:
        run(collection, grader("exact"))
        rows = list(label_rows(collection))
        assert [(row.id, row.answer) for row in rows] == [*(("a", answer) for answer in answers), ("\ud83e", "x")]
        assert [row.correct for row in rows] == [True, False, False, False, False, None]
        assert rows[0] == LabelRow("a", "Paris", "What is a?", ("Paris",), True, "exact", None, rows[0].note)
        write_labels(tmp_path / "labels.csv", rows)
        who = {(row.id, row.answer): row.grader for row in read_label_rows(tmp_path / "labels.csv")}
        back = read_labels(tmp_path / "labels.csv")
        assert take_labels(collection, back, who) == 0
        assert run(collection, grader("exact")).by_people == 0, "nobody looked at them"
        assert take_labels(collection, back, dict.fromkeys(who, "ann")) == 0
        assert run(collection, grader("exact")).by_people == 5


# --- how far a judge is to be trusted ----------------------------------------------------------------------------


def test_a_judges_errors_are_counted_where_people_labelled_too(tmp_path: Path) -> None:
    said = {"p": True, "q": True, "r": False, "s": None, "t": True, "u": False}
    truth = {"p": True, "q": False, "r": True, "s": True, "u": False}
    with held(tmp_path, one("a", None, *said)) as collection:
        collection.label({("a", answer): Label(correct, "model") for answer, correct in said.items()})
        take_labels(collection, {("a", answer): correct for answer, correct in truth.items()}, {})
        found = measured_judge(collection)
    # of two wrong ones (q, u) it took one; of two right ones (p, r) it refused one; s it left open, t nobody checked
    assert (found.wrong, found.wrong_accepted, found.right, found.right_rejected) == (2, 1, 2, 1)


def test_without_people_nothing_is_known_of_a_judge(tmp_path: Path) -> None:
    with collection_in(tmp_path, 5) as collection:
        found = measured_judge(collection)
    assert (found.wrong, found.right) == (0, 0)


Key = tuple[str, str]


def keys(drawn: list[LabelRow]) -> list[Key]:
    return [(row.id, row.answer) for row in drawn]


def judged(folder: Path, n: int) -> Collection:
    """Questions with a right and a wrong answer each, both of which a lenient judge accepts."""
    collection = held(folder, *(one(f"q{i}", "Paris", "Paris", "Rome") for i in range(n)))
    accept_all(collection)
    return collection


def accept_all(collection: Collection) -> None:
    for row in list(collection.collected()):
        collection.label({(row.example.id, answer): Label(True, "model") for answer in row.answers.values()})


def test_a_sample_is_of_as_many_graded_answers_and_shows_no_label(tmp_path: Path) -> None:
    with judged(tmp_path, 30) as collection:
        collection.add([one("open", "Paris")[0]])
        (place,) = collection.todo()
        collection.finish(place, (), {"round0": "Paris"}, Cost())  # that nobody graded
        assert not has_sample(collection)
        drawn = draw_sample(collection, 20)
        assert has_sample(collection)
        assert len(set(keys(drawn))) == 20
        for row in drawn:
            assert (row.question, row.references) == (f"What is {row.id}?", ("Paris",))
            assert (row.correct, row.grader, row.suspicion, row.note) == (None, "", None, ""), "people judge unseen"
        everything = keys(draw_sample(collection, 500))
        assert len(everything) == 60
        assert "open" not in {id_ for id_, _ in everything}


def test_every_answer_is_as_likely_to_be_drawn_whatever_is_said_of_it(tmp_path: Path) -> None:
    n, count = 600, 300
    with judged(tmp_path, n) as collection:
        take_labels(collection, {(f"q{i}", "Rome"): False for i in range(n // 2)}, {})
        drawn = keys(draw_sample(collection, count))
    # hypergeometric: 300 of 1200, in groups of 600, 600 and 300; four standard deviations
    assert abs(sum(answer == "Rome" for _, answer in drawn) - 150) <= 4 * 7.5
    assert abs(sum(int(id_[1:]) >= n // 2 for id_, _ in drawn) - 150) <= 4 * 7.5
    assert abs(sum(answer == "Rome" and int(id_[1:]) < n // 2 for id_, answer in drawn) - 75) <= 4 * 6.5
    # nor in the order of the file
    assert abs(sum(int(id_[1:]) for id_, _ in drawn[:100]) / 100 - n / 2) <= 4 * n / math.sqrt(12 * 100)


def test_a_sample_is_the_same_again_and_grows_but_never_shrinks(tmp_path: Path) -> None:
    with judged(tmp_path, 40) as collection:
        ten = keys(draw_sample(collection, 10))
        # labels of people, and another run of the judge, change nothing of what was drawn
        take_labels(collection, dict.fromkeys(ten[:4], False), {})
        accept_all(collection)
        assert keys(draw_sample(collection, 10)) == ten
        assert keys(draw_sample(collection, 3)) == ten
        thirty = keys(draw_sample(collection, 30))
        assert thirty[:10] == ten
        assert keys(draw_sample(collection, 10)) == thirty
    with Collection.open(tmp_path / "c.db") as collection:
        assert has_sample(collection)
        assert keys(draw_sample(collection, 1)) == thirty


def test_a_sample_keeps_what_was_drawn_when_answers_come_and_takes_its_share_of_them(tmp_path: Path) -> None:
    with judged(tmp_path, 100) as collection:
        before = keys(draw_sample(collection, 50))
        new = [one(f"q{i}", "Paris", "Paris", "Rome") for i in range(100, 200)]
        collection.add(example for example, _ in new)
        for place, (_, answers) in zip(list(collection.todo()), new, strict=True):
            collection.finish(place, (), answers, Cost())
        accept_all(collection)
        after = keys(draw_sample(collection, 50))
    assert set(before) <= set(after), "what people labelled is not thrown away"
    share = len(set(after) - set(before))
    assert abs(share - 50) <= 4 * 8.7  # of 200 new ones about a quarter; the border is drawn, too
    assert all(int(id_[1:]) >= 100 for id_, _ in set(after) - set(before))


def test_an_answer_of_any_text_can_be_drawn(tmp_path: Path) -> None:
    answers = ("Paris", "\U0001f98a \ud800", "a\0b", "")
    with held(tmp_path, one("\ud83e", "Paris", *answers)) as collection:
        run(collection, grader("exact"))
        drawn = draw_sample(collection, 9)
        assert set(keys(drawn)) == {("\ud83e", answer) for answer in answers}
        write_labels(tmp_path / "sample.csv", drawn)
        assert read_labels(tmp_path / "sample.csv") == {}
        take_labels(collection, dict.fromkeys(keys(drawn), False), {})
        found = measured_judge(collection)
    assert (found.wrong, found.wrong_accepted) == (4, 1)


def test_once_a_sample_is_drawn_a_judge_is_measured_on_it_alone(tmp_path: Path) -> None:
    with judged(tmp_path, 20) as collection:
        everything = keys(list(label_rows(collection)))
        truth = {(id_, answer): answer == "Paris" for id_, answer in everything}
        picked = {key: said for key, said in truth.items() if not said and int(key[0][1:]) < 8}
        take_labels(collection, picked, {})
        # whoever looks for a judge's mistakes finds them: eight of eight
        assert measured_judge(collection) == JudgeError(8, 8, 0, 0)
        drawn = keys(draw_sample(collection, 15))
        mine = [key for key in drawn if key in picked]
        assert 0 < len(mine) < 8
        assert measured_judge(collection) == JudgeError(len(mine), len(mine), 0, 0)
        take_labels(collection, {key: truth[key] for key in drawn}, {})
        wrong = sum(not truth[key] for key in drawn)
        assert measured_judge(collection) == JudgeError(wrong, wrong, 15 - wrong, 0)
        take_labels(collection, truth, {})
        assert measured_judge(collection) == JudgeError(wrong, wrong, 15 - wrong, 0)


def test_a_sample_that_people_agree_with_counts_for_the_judge(tmp_path: Path) -> None:
    """The file comes without the grader's name: what stands in 'correct' is a person's own."""
    with judged(tmp_path, 10) as collection:
        write_labels(tmp_path / "s.csv", [replace(row, correct=True) for row in draw_sample(collection, 6)])
        who = {(row.id, row.answer): row.grader for row in read_label_rows(tmp_path / "s.csv")}
        assert take_labels(collection, read_labels(tmp_path / "s.csv"), who) == 0
        assert measured_judge(collection) == JudgeError(0, 0, 6, 0)


# --- suspects ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[LabelRow], set[tuple[str, str]], int]:
    """The suspects of a collection in which every twentieth label is wrong, those labels, and how many there are."""
    folder = tmp_path_factory.mktemp("planted")
    with collection_in(folder, 250) as collection:
        keys = [
            (row.example.id, answer) for row in collection.collected() for answer in dict.fromkeys(row.answers.values())
        ]
        wrong = set(keys[7::20])
        label(collection, but=wrong)
        found = suspect_rows(collection, gateway_of(policy_in(folder, towns=250)).plan)
    return found, wrong, len(keys)


def test_labels_that_were_made_wrong_are_found_far_more_often_than_by_chance(
    planted: tuple[list[LabelRow], set[tuple[str, str]], int],
) -> None:
    found, wrong, n = planted
    top = found[: len(wrong)]
    hits = sum((row.id, row.answer) in wrong for row in top)
    by_chance = len(top) * len(wrong) / n
    assert hits >= 6 * by_chance  # 1 by chance, and 7 or more of 21 with a probability below 1e-4
    assert hits >= len(wrong) / 2


def test_suspects_come_with_what_is_needed_to_judge_them_the_likeliest_first(
    planted: tuple[list[LabelRow], set[tuple[str, str]], int],
) -> None:
    found, wrong, n = planted
    suspicion = [row.suspicion for row in found]
    assert None not in suspicion
    assert suspicion == sorted(suspicion, key=lambda s: -(s or 0.0))
    assert all(0 <= (s or 0) <= 1 for s in suspicion)
    assert len(found) < n / 4
    assert len({(row.id, row.answer) for row in found}) == len(found)
    for row in found[:20]:
        town = f"Town{row.id[1:]}"
        assert row.question == f"Which country is {town} in?"
        assert row.references == (country_of(town),)
        assert row.correct is ((row.answer in row.references) != ((row.id, row.answer) in wrong))
        assert row.grader == "exact"


def test_open_answers_come_first_also_of_questions_without_any_label(tmp_path: Path) -> None:
    with collection_in(tmp_path, 30) as collection:
        rows = list(collection.collected())
        unsure = {(rows[3].example.id, answer) for answer in rows[3].answers.values()}
        unsure |= {(rows[5].example.id, next(iter(rows[5].answers.values())))}
        collection.label({key: Label(None, "auto") for key in unsure})
        found = suspect_rows(collection, gateway_of(policy_in(tmp_path, towns=30)).plan)
    assert {(row.id, row.answer) for row in found[: len(unsure)]} == unsure
    assert all(row.correct is not None for row in found[len(unsure) :])


def test_too_few_labels_to_tell_are_said_to_be_too_few(tmp_path: Path) -> None:
    with collection_in(tmp_path, 2) as collection:
        plan = gateway_of(policy_in(tmp_path, towns=4)).plan
        with pytest.raises(ConfigError, match=r"collection\.db: too few labels to tell which look wrong: "):
            suspect_rows(collection, plan)


@pytest.mark.parametrize(
    ("answers", "answer", "references", "shown"),
    [
        ({"small/with_passages": "Paris [1]"}, "Paris [1]", ("Paris",), "Paris"),
        ({"small/closed_book": "arr[1]"}, "arr[1]", ("arr",), "arr[1]"),
        ({"small/with_passages": "arr[1]"}, "arr[1]", ("arr[1]",), "arr[1]"),
    ],
)
def test_passages_cited_are_no_part_of_what_is_graded(
    answers: dict[str, str], answer: str, references: tuple[str, ...], shown: str
) -> None:
    example = Example("1", Question.from_text("Where?"), references)
    assert uncited(Collected(1, example, (), answers, {}), answer) == shown
