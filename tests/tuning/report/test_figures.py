"""The drawings: what is in them, that they are safe within a page, and the same every time."""

from __future__ import annotations

import re
import sys
import warnings
from xml.etree import ElementTree

import pytest

from gate.errors import MissingExtra
from gate.tuning.report import FrontierPoint
from gate.tuning.report.figures import frontier, reliability, risk_coverage
from tests.tuning.judged import evaluate, rows, simulated

POINTS = (
    (1, FrontierPoint("cheap", 0.001, 0.4, 0.02, certified=True)),
    (2, FrontierPoint("bold", 0.002, 0.9, 0.2)),
    (3, FrontierPoint("worse", 0.003, 0.35, 0.02, certified=True)),
    (4, FrontierPoint("dear", 0.01, 0.8, 0.03, certified=True, chosen=True)),
)


def drawings() -> dict[str, str]:
    found = evaluate(simulated(300))
    return {
        "reliability": reliability(found.reliability, "words for <one> & all"),
        "risk-coverage": risk_coverage(found.curve, 0.05, (0.6, 0.04, 0.02, 0.08), (0.7, 0.03, 0.045), "words"),
        "frontier": frontier(POINTS, "words"),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return drawings()


def test_they_are_the_same_every_time_whatever_style_is_set(drawn: dict[str, str]) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"axes.facecolor": "red", "font.size": 40, "svg.fonttype": "path"}):
        assert drawings() == drawn
        assert mpl.rcParams["font.size"] == 40  # and the caller's own style stays


def test_they_are_well_formed_and_say_what_they_show(drawn: dict[str, str]) -> None:
    for name, svg in drawn.items():
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-labelledby") == f"{name}-title {name}-desc"
        title, desc = list(root)[:2]
        assert (title.tag, desc.tag) == ("title", "desc")
        assert title.text
        assert desc.text in {"words", "words for <one> & all"}


def test_they_load_nothing_and_style_nothing_else(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert "http" not in svg
        assert "<style" not in svg
        assert "<script" not in svg
        assert "<image" not in svg
        assert "DejaVu" not in svg


def test_all_colours_are_the_page_s(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert not re.findall(r"(?:fill|stroke): #", svg)
    assert set(re.findall(r"var\(--(\w+)\)", "".join(drawn.values()))) == {
        "ink",
        "muted",
        "line",
        "accent",
        "second",
        "warn",
        "paper",
    }


def test_their_names_are_their_own(drawn: dict[str, str]) -> None:
    ids = [i for svg in drawn.values() for i in re.findall(r'\bid="([^"]*)"', svg)]
    assert len(ids) == len(set(ids))
    for name, svg in drawn.items():
        for used in re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg):
            assert f'id="{used[0] or used[1]}"' in svg
        assert all(i.startswith(name) for i in re.findall(r'\bid="([^"]*)"', svg))


def texts(svg: str) -> list[str]:
    return [(t.text or "").strip() for t in ElementTree.fromstring(svg).iter("text")]


def test_every_bin_has_its_count() -> None:
    found = evaluate(rows([0.95] * 1500 + [0.15] * 7, [1.0] * 1507, [True] * 1507))
    shown = texts(reliability(found.reliability, ""))
    assert shown.count("0") == 8
    assert "1,500" in shown
    assert "7" in shown


def test_the_frontier_names_its_points_by_number_alone(drawn: dict[str, str]) -> None:
    shown = texts(drawn["frontier"])
    assert {"1", "2", "3", "4"} <= set(shown)
    assert not {"cheap", "bold"} & set(shown)


def test_points_that_lie_on_one_another_share_a_label() -> None:
    close = [(i, FrontierPoint("x", 0.001, 0.5 + i / 10_000, None)) for i in (1, 2, 3)]
    assert "1, 2, 3" in texts(frontier(close, ""))


def test_odd_data_draw_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = evaluate(rows([0.5], [0.0], [True]))
        reliability(one.reliability, "")
        risk_coverage(one.curve, 0.5, (1.0, 1.0, 0.025, 1.0), None, "")
        risk_coverage(evaluate(rows([0.5], [1.0], [False])).curve, 0.001, None, None, "")
        frontier([(1, FrontierPoint("free", 0.0, 0.0, None))], "")
        frontier([(1, FrontierPoint("all", 1e-9, 1.0, 0.0)), (2, FrontierPoint("dear", 1e3, 1.0, 0.0))], "")


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"'matplotlib'.*gate-llm\[tune\]"):
        frontier(POINTS, "")
