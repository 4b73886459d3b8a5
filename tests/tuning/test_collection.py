"""The file of a collection: what goes in comes out, whatever it is and however the process ends."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.traces import Failure, TapeEntry
from gate.tuning.collection import Added, Collection, Label, is_collection
from gate.tuning.examples import Example, Split
from gate.tuning.splits import Shares, split_by
from gate.types import Cost, Generation, Generations, Message, Passage, Question, Usage

STRANGE = "\ud800 half a pair, \U0001f98a a fox, \x00 nothing, \u2028 a line, e\u0301 ' \" \\"


def asked(id_: str, text: str, *, split: Split = "", **fields: object) -> Example:
    return replace(Example(id_, Question.from_text(text), split=split), **fields)  # type: ignore[arg-type]


def reply(text: str, calls: int = 1) -> TapeEntry:
    said = Generations((Generation(text),), Usage(3, 4), "small")
    return TapeEntry("key", "generate", Cost(calls, 3, 4, 0.5, 0.25), generations=said)


def made(path: Path, *examples: Example) -> Collection:
    collection = Collection.create(path / "c.db")
    collection.add(examples)
    return collection


def finished(path: Path, *examples: Example) -> Collection:
    collection = made(path, *examples)
    for place in collection.todo():
        collection.finish(place, [reply("Nigeria")], {"small/closed_book": "Nigeria"}, Cost(1, 3, 4, 0.5, 0.25))
    return collection


# --- what goes in comes out --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [STRANGE, "\U0001f98a", "\ud83e", "x" * 2**20], ids=["all", "emoji", "half", "1 MB"])
def test_any_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    example = Example(
        id=text,
        question=Question(
            (Message("system", text), Message("user", text, {"role": "user", "content": text, "x": None}))
        ),
        references=(text,),
        segment=text,
        passages=(Passage(text, text, 0.5),),
        logged_answer=text,
        logged_correct=True,
    )
    with made(tmp_path, example) as collection:
        (place,) = collection.todo()
        collection.fail(place, text)
        assert collection.failure(place) == text
        collection.journal(place, [reply(text)])
        assert collection.journaled(place) == [reply(text)]
        collection.finish(place, [reply(text)], {"small/closed_book": text}, Cost(1))
        collection.label({(text, text): Label(False, text, text)})
    with Collection.open(tmp_path / "c.db") as collection:
        (row,) = collection.collected()
        assert row.example == example == collection.example(place)
        assert row.tape == (reply(text),)
        assert row.answers == {"small/closed_book": text}
        assert row.labels == {text: Label(False, text, text)}
        assert collection.failure(place) is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=8)), max_size=8, unique_by=lambda e: e[0]))
def test_every_question_is_there_once_in_the_order_of_the_file(pairs: list[tuple[str, str]]) -> None:
    with Collection.create(Path(":memory:")) as collection:
        added = collection.add(asked(*pair) for pair in pairs)
        held = [collection.example(place) for place in collection.todo()]
        assert added.new == len(held) == len({text for _, text in pairs})
        assert added.repeated == len(pairs) - added.new
        assert [example.question.text for example in held] == list(dict.fromkeys(text for _, text in pairs))


def test_more_questions_than_are_read_at_a_time(tmp_path: Path) -> None:
    with finished(tmp_path, *(asked(f"q{i}", f"Where is {i}?") for i in range(150))) as collection:
        seen = []
        for row in collection.collected():  # labels written meanwhile disturb nothing
            collection.label({(row.example.id, "Nigeria"): Label(True, "exact")})
            seen.append(row.example.id)
        assert seen == [f"q{i}" for i in range(150)]
        assert collection.count() == (150, 150)


def test_the_costs_of_finished_questions_and_of_those_under_way_are_summed(tmp_path: Path) -> None:
    with finished(tmp_path, asked("a", "one?"), asked("b", "two?")) as collection:
        assert not collection.todo()
        assert collection.has_replies
        collection.add([asked("c", "three?")])
        failed = TapeEntry("key", "generate", Cost(3), failure=Failure("small", "is down"))
        collection.journal(collection.todo()[0], [reply("x"), failed])
        assert collection.spent() == Cost(2 + 1 + 3, 9, 12, 1.5, 0.75)


def test_a_failure_alone_is_no_reply(tmp_path: Path) -> None:
    with made(tmp_path, asked("a", "one?")) as collection:
        collection.journal(1, [TapeEntry("key", "generate", Cost(3), failure=Failure("small", "is down"))])
        assert not collection.has_replies


# --- which questions are the same --------------------------------------------------------------------------------


def test_a_question_again_is_known_and_under_another_id_repeated(tmp_path: Path) -> None:
    first = asked("a", "Where is Lagos?")
    with made(tmp_path, first) as collection:
        again = [first, asked("b", "Where is Lagos?"), asked("c", "Where is Paris?")]
        assert collection.add(again) == Added(new=1, known=1, repeated=1)


@pytest.mark.parametrize(
    ("one", "other"),
    [("What is C?", "What is C++?"), ("What is 3 + 4?", "What is 3 - 4?"), ("Who is who?", "Who is The Who?")],
)
def test_questions_that_differ_in_a_mark_or_an_article_are_two(tmp_path: Path, one: str, other: str) -> None:
    with made(tmp_path, asked("a", one), asked("b", other)) as collection:
        assert [collection.example(place).question.text for place in collection.todo()] == [one, other]


def test_the_same_words_with_other_options_passages_or_instructions_are_another_request(tmp_path: Path) -> None:
    question = Question.from_text("Where is Lagos?")
    told = Question((Message("system", "Be brief."), *question.messages))
    with made(
        tmp_path,
        Example("plain", question),
        Example("options", replace(question, options={"max_tokens": 5})),
        Example("passages", question, passages=(Passage("1", "Lagos is in Nigeria."),)),
        Example("told", told),
    ) as collection:
        assert collection.count() == (4, 0)


def test_what_is_known_of_a_question_can_be_mended_but_not_the_question(tmp_path: Path) -> None:
    first = asked("a", "Where is Lagos?")
    with finished(tmp_path, first) as collection:
        collection.add([replace(first, references=("Nigeria",), segment="africa")])
        (row,) = collection.collected()
        assert (row.example.references, row.example.segment) == (("Nigeria",), "africa")
        # other words would not be what the replies answer
        with pytest.raises(ConfigError, match="the id 'a' stands for another question already"):
            collection.add([asked("a", "where is lagos")])
        assert next(collection.collected()).example.question.text == "Where is Lagos?"


@pytest.mark.parametrize(("one", "other"), [("fit", "test"), ("fit", ""), ("", "certify")])
def test_a_question_in_two_splits_is_refused_and_nothing_is_put_in(tmp_path: Path, one: Split, other: Split) -> None:
    with made(tmp_path) as collection:
        clashing = [
            asked("x", "new?"),
            asked("a", "Where is Lagos?", split=one),
            asked("b", "where is Lagos", split=other),
        ]
        with pytest.raises(ConfigError, match=r"'a' and 'b' are the same, but are in .* and .*: what is tuned on"):
            collection.add(clashing)
        assert collection.count() == (0, 0)
        collection.add(clashing[:2])  # the connection is none the worse for it
        assert collection.count() == (2, 0)


def test_a_question_changes_its_split_until_a_policy_was_tuned_on_it(tmp_path: Path) -> None:
    first = asked("a", "Where is Lagos?", split="fit")
    with made(tmp_path, first) as collection:
        collection.add([replace(first, split="certify")])
        split_by(collection, Shares())
        collection.add([replace(first, split="certify", segment="africa")])
        with pytest.raises(
            ConfigError, match="was tuned on this collection with the question 'a' in the certify split"
        ):
            collection.add([first])


def test_a_source_that_breaks_off_leaves_nothing_half_put_in(tmp_path: Path) -> None:
    def broken() -> object:
        yield asked("a", "one?")
        raise ConfigError("no more", where="file:2")

    with made(tmp_path) as collection:
        with pytest.raises(ConfigError, match="file:2"):
            collection.add(broken())  # type: ignore[arg-type]
        assert collection.count() == (0, 0)
        assert collection.add([asked("a", "one?")]).new == 1


# --- labels ------------------------------------------------------------------------------------------------------


def test_a_persons_label_goes_before_a_graders_whichever_came_first(tmp_path: Path) -> None:
    with finished(tmp_path, asked("a", "one?")) as collection:
        key = ("a", "Nigeria")
        collection.label({key: Label(True, "ann", human=True)})
        collection.label({key: Label(False, "exact")})
        (row,) = collection.collected()
        assert row.correct("Nigeria") is True
        assert row.labels["Nigeria"].grader == "ann"
        assert collection.labels_of("a", human=False) == {"Nigeria": Label(False, "exact")}
        collection.label({key: Label(None, "exact")})
        assert collection.labels_of("a", human=False)["Nigeria"].correct is None
        assert row.correct("Ghana") is None


# --- files -------------------------------------------------------------------------------------------------------


def test_there_must_be_one_to_open(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such collection: 'gate collect' makes one"):
        Collection.open(tmp_path / "none.db")
    with pytest.raises(ConfigError, match="no such collection"):
        Collection.open(tmp_path)


def test_one_is_begun_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "a" / "b" / "c.db") as collection:
        assert collection.count() == (0, 0)
        assert collection.meta == {"version": "1"}
    assert is_collection(tmp_path / "a" / "b" / "c.db")


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot make the folder"):
        Collection.create(tmp_path / "file" / "c.db")
    with pytest.raises(ConfigError, match="cannot use this collection: unable to open"):
        Collection.create(tmp_path)


@pytest.mark.parametrize("content", [b'{"question": "Where?"}\n', b"\x00" * 4096, b"SQLite", b"x"])
def test_a_file_of_another_kind_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="no collection of 'gate collect'"):
        Collection.create(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("table", ["people (name TEXT)", "meta (name TEXT, value TEXT)", "examples (place INTEGER)"])
def test_the_database_of_another_program_is_left_as_it_is(tmp_path: Path, table: str) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute(f"CREATE TABLE {table}")
    other.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="a database of something else, no collection"):
        Collection.create(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_told_of_and_stays(tmp_path: Path) -> None:
    finished(tmp_path, *(asked(f"q{i}", f"Where is {i}?") for i in range(50))).close()
    path = tmp_path / "c.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\x5a" * (len(whole) - 100))
    with pytest.raises(ConfigError, match=r"c\.db: cannot use this collection: .*malformed"):
        Collection.open(path)
    path.write_bytes(whole[:8192])
    with pytest.raises(ConfigError, match=r"c\.db: cannot use this collection"), Collection.open(path) as collection:
        list(collection.collected())


def test_an_empty_file_is_a_collection_to_be(tmp_path: Path) -> None:
    (tmp_path / "c.db").touch()
    with made(tmp_path, asked("a", "one?")) as collection:
        assert collection.count() == (1, 0)


@pytest.mark.parametrize("version", ["0", "2", "none"])
def test_another_format_is_refused_and_not_rewritten(tmp_path: Path, version: str) -> None:
    made(tmp_path, asked("a", "one?")).close()
    raw = sqlite3.connect(tmp_path / "c.db")
    raw.execute("UPDATE meta SET value = ? WHERE name = 'version'", (version,))
    if version == "none":
        raw.execute("DELETE FROM meta")
    raw.commit()
    raw.close()
    with pytest.raises(ConfigError, match=r"written in format .*; this gate reads 1"):
        Collection.open(tmp_path / "c.db")


def test_what_a_full_disk_stops_is_told_and_undone(tmp_path: Path) -> None:
    with finished(tmp_path, asked("a", "one?")) as collection:
        (pages,) = collection._db.execute("PRAGMA page_count").fetchone()
        collection._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ConfigError, match=r"cannot use this collection: .*full"):
            collection.label({("a", "x" * 10**6): Label(True, "exact")})
        collection._db.execute("PRAGMA max_page_count = 100000")
        collection.label({("a", "Nigeria"): Label(True, "exact")})
        assert next(collection.collected()).labels == {"Nigeria": Label(True, "exact")}


# --- several at once, and ends without notice --------------------------------------------------------------------

_WRITER = """
import sys
from pathlib import Path
from gate.tuning.collection import Collection, Label
from gate.tuning.examples import Example
from gate.types import Cost, Question
who = sys.argv[2]
with Collection.create(Path(sys.argv[1])) as collection:
    for i in range(40):
        collection.add([Example(f"{who}{i}", Question.from_text(f"{who} {i}?"))])
        collection.label({(f"{who}{i}", "yes"): Label(True, who)})
"""


def test_processes_that_write_at_once_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "c.db"  # not there yet: they begin it at once, too
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path), who]) for who in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with Collection.open(path) as collection:
        assert collection.count() == (120, 0)
        assert {id_: collection.labels_of(id_) for id_ in ("a39", "b0", "c7")} == {
            id_: {"yes": Label(True, id_[0])} for id_ in ("a39", "b0", "c7")
        }


def test_threads_share_one(tmp_path: Path) -> None:
    with made(tmp_path) as collection:

        def add(who: int) -> None:
            for i in range(25):
                collection.add([asked(f"{who}-{i}", f"{who} and {i}?")])
                collection.label({(f"{who}-{i}", "yes"): Label(True, "exact")})

        threads = [threading.Thread(target=add, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert collection.count() == (100, 0)


_KILLED = """
import os, signal, sys
from pathlib import Path
from gate.tuning.collection import Collection, Label
from gate.types import Cost
collection = Collection.open(Path(sys.argv[1]))
collection.finish(1, (), {"small/closed_book": "kept"}, Cost(1))
collection._db.execute("BEGIN IMMEDIATE")
collection._db.execute("UPDATE examples SET tape = x'00' WHERE place = 2")
collection._db.execute("DELETE FROM journal")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signal 9 there")
def test_a_kill_in_the_middle_of_writing_loses_only_what_was_not_written(tmp_path: Path) -> None:
    with made(tmp_path, asked("a", "one?"), asked("b", "two?")) as collection:
        collection.journal(2, [reply("begun")])
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "c.db")], check=False)
    assert killed.returncode == -9
    with Collection.open(tmp_path / "c.db") as collection:
        assert collection.count() == (2, 1)
        assert collection.todo() == [2]
        assert collection.journaled(2) == [reply("begun")]
        assert [row.answers for row in collection.collected()] == [{"small/closed_book": "kept"}]


def test_one_opened_alone_shares_no_memory_and_is_whole_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    with Collection.create(path, alone=True) as held:
        held.add([Example("a", Question.from_text("Where?"))])
        held.finish(held.todo()[0], (), {}, Cost(calls=2, money=0.5))
        assert [each.name for each in tmp_path.glob("*-shm")] == []
    with Collection.open(path) as held:
        assert held.cost(1) == Cost(calls=2, money=0.5)
