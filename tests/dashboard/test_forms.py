"""What a browser may send, and how the rest is refused."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from gate.dashboard.forms import id_of, number_of, one_of, read_form, text_of, way_back
from gate.errors import RequestError

FORM = "application/x-www-form-urlencoded"


def read(body: bytes, kind: str = FORM) -> dict[str, str]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
    return anyio.run(read_form, Request(scope, receive))


def test_a_form_is_read_with_its_empty_fields_and_every_script() -> None:
    assert read(b"note=&answer=%E4%BA%AC+1%262") == {"note": "", "answer": "京 1&2"}
    assert read(b"a=1", f"{FORM}; charset=utf-8") == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=1", "", 415),
        (b"a=" + b"x" * 70_000, FORM, 413),
        (b"&".join(b"f%d=1" % i for i in range(30)), FORM, 400),
        (b"verdict=right&verdict=wrong", FORM, 400),
        ("a=é".encode(), FORM, 400),
    ],
)
def test_what_no_form_of_ours_sends_is_refused(body: bytes, kind: str, status: int) -> None:
    with pytest.raises(RequestError) as refused:
        read(body, kind)
    assert refused.value.status == status


@given(st.binary(max_size=300))
def test_no_body_is_a_fault(body: bytes) -> None:
    try:
        read(body)
    except RequestError:
        return


def test_texts_are_trimmed_and_have_a_longest() -> None:
    assert text_of({"note": " a\r\nb "}, "note", 3) == "a\nb"
    assert text_of({}, "note", 3) == ""
    with pytest.raises(RequestError, match="longer than 3"):
        text_of({"note": "four"}, "note", 3)


def test_choices_and_numbers() -> None:
    assert one_of({"days": "14"}, "days", ("7", "14"), "7") == "14"
    assert one_of({"days": ""}, "days", ("7", "14"), "7") == "7"
    with pytest.raises(RequestError, match="no such choice"):
        one_of({"days": "8"}, "days", ("7", "14"), "7")
    assert number_of({"before": "12.5"}, "before") == 12.5
    assert number_of({}, "before") is None
    for said in ("x", "nan", "inf", "1e999"):
        with pytest.raises(RequestError, match="no number"):
            number_of({"before": said}, "before")


@pytest.mark.parametrize("said", ["../etc", "a b", "a/b", "<b>", "é", "x" * 65, "a\n", "%00"])
def test_what_can_be_no_id_is_not_found(said: str) -> None:
    with pytest.raises(RequestError) as refused:
        id_of(said)
    assert refused.value.status == 404
    assert said not in str(refused.value)


def test_ids() -> None:
    assert id_of("44b742bffb724e819c570bd170102896") == "44b742bffb724e819c570bd170102896"
    assert id_of("") == ""


@pytest.mark.parametrize(
    "said",
    ["/dashboard", "/dashboard/decisions/ab_c-1", "/dashboard/decisions?policy=a+b&action=answer", "/dashboard/review"],
)
def test_the_way_back_may_be_any_page_of_ours(said: str) -> None:
    assert way_back(said) == said


@pytest.mark.parametrize(
    "said",
    [
        "",
        "//evil.test",
        "https://evil.test/dashboard",
        "/dashboard//evil.test",
        "/dashboard/../v1/models",
        "/dashboard\\evil",
        "/dashboardx",
        "/dashboard?a=1\r\nset-cookie: x=y",
        "/dashboard/login\n",
        "javascript:alert(1)",
        "/dashboard?x=<script>",
    ],
)
def test_the_way_back_leads_nowhere_else(said: str) -> None:
    assert way_back(said) == "/dashboard"
