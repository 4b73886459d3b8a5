"""Which names of a model are the same, which are another, and what is learned of them."""

from __future__ import annotations

import threading

import pytest

from gate.model_names import ModelNames

DATED, LATER = "gpt-4o-2024-08-06", "gpt-4o-2024-11-20"


@pytest.mark.parametrize(
    "said",
    [
        [DATED] * 3,  # an alias that is reported in full, each time
        ["gpt-4o", "gpt-4o"],
        ["gpt-4o", DATED, "gpt-4o", DATED],  # the alias here, the version there
        [DATED, "gpt-4o", DATED],
        [DATED, f"openai/{DATED}", DATED.upper()],
        ["", DATED, ""],
        ["gpt-4o", "gpt-4o:latest"],
        ["gpt-4o", "gpt-4o@20240806"],
    ],
    ids=str,
)
def test_no_alarm_is_raised_for_aliases(said: list[str]) -> None:
    names = ModelNames({"main": "gpt-4o"})
    assert [names.heard("main", name) for name in said] == [""] * len(said)
    assert (names.changed, names.others) == ({}, {})


@pytest.mark.parametrize(
    ("said", "was"),
    [
        ([DATED, LATER], DATED),
        (["gpt-4o", "gpt-4o-mini"], "gpt-4o"),
        (["gpt-4o", DATED, LATER], DATED),
        (["gpt-4o", "claude-3"], "gpt-4o"),
        (["GPT-4o", "openai/gpt-4"], "gpt-4o"),
    ],
    ids=str,
)
def test_another_model_is_noticed(said: list[str], was: str) -> None:
    names = ModelNames({"main": "gpt-4o"})
    *before, last = said
    assert not any(names.heard("main", name) for name in before)
    shown = last.rpartition("/")[2]
    for _ in range(2):
        assert names.heard("main", last) == f"the upstream 'main' says it is {shown!r}, and was {was!r}"
    assert names.changed == {"main": f"the upstream 'main' says it is {shown!r}, and was {was!r}"}
    assert names.others == {"main": 2}
    assert names.heard("main", before[-1]) == "", "each reply is judged by its own name"
    assert names.heard("other", "anything") == ""


def test_what_the_certificate_remembers_counts_and_not_what_comes_first() -> None:
    names = ModelNames({"main": "gpt-4o"}, {"main": DATED})
    assert "was 'gpt-4o-2024-08-06'" in names.heard("main", LATER)
    assert names.heard("main", DATED) == names.heard("main", "gpt-4o") == ""


@pytest.mark.parametrize(
    ("certified", "said"),
    [
        ("llama-3", "llama-3-70"),
        ("claude-3", "claude-3-5"),
        ("llama-3", "llama-3-8.1"),
        ("meta/llama-3-8b", "evil/llama-3-8b"),
        ("meta/llama-3", "evil/llama-3-2024-08-06"),
    ],
)
def test_a_certified_model_has_no_versions_but_dates_and_one_owner(certified: str, said: str) -> None:
    names = ModelNames({"main": certified}, {"main": certified})
    assert "says it is" in names.heard("main", said)
    assert names.changed
    assert names.heard("main", certified) == ""


@pytest.mark.parametrize(
    ("certified", "said"),
    [
        ("gpt-4o", DATED),
        ("gpt-4", "gpt-4-0613"),
        ("command-r", "command-r-08-2024"),
        ("claude-3-haiku", "claude-3-haiku@20240307"),
        ("qwen", "qwen:latest"),
        ("titan", "titan-v2"),
        ("gpt-4o", "openai/gpt-4o"),
        ("openai/gpt-4o", "router/openai/gpt-4o"),
        ("openai/gpt-4o", DATED),
    ],
)
def test_a_certified_model_may_say_which_of_its_dates_it_is(certified: str, said: str) -> None:
    names = ModelNames({"main": certified}, {"main": certified})
    assert names.heard("main", said) == names.heard("main", certified) == ""


def test_another_owner_is_another_model_without_a_certificate_too() -> None:
    names = ModelNames({"main": "x"})
    assert names.heard("main", "meta/x") == names.heard("main", "x") == ""
    assert names.heard("main", "evil/x") == "the upstream 'main' says it is 'evil/x', and was 'meta/x'"


def test_a_recording_teaches_nothing() -> None:
    names = ModelNames({"main": "gpt-4o"})
    assert names.judged("main", DATED) == names.judged("main", LATER) == ""
    assert names.heard("main", DATED) == ""
    assert names.judged("main", LATER) != ""
    assert (names.changed, names.others) == ({}, {})


def test_a_name_of_any_length_or_kind_is_shown_short_and_printable() -> None:
    names = ModelNames()
    names.heard("main", "m")
    said = names.heard("main", "x\r\n\0" + "y" * 10_000)
    assert said.isprintable()
    assert len(said) < 200


def test_names_beyond_number_do_not_fill_the_memory() -> None:
    names = ModelNames({"main": "m"})
    for number in range(3000):
        names.heard("main", f"{number}/m")
    assert len(names._same) <= 1000


def test_what_changed_is_told_once() -> None:
    names = ModelNames(certified={"small": "m-0", "large": "l-0"})
    names.heard("small", "other")
    assert [len(names.news()), len(names.news())] == [1, 0]
    names.heard("large", "other")
    names.heard("small", "yet-another")
    assert names.news() == (names.changed["large"],)


def test_threads_that_hear_at_once_agree_on_the_first() -> None:
    names, begin = ModelNames(), threading.Barrier(8)
    told: list[str] = []

    def hear(number: int) -> None:
        begin.wait()
        told.append(names.heard("main", f"m-{number}"))

    threads = [threading.Thread(target=hear, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (told.count(""), names.others["main"]) == (1, 7)
