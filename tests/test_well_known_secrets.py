"""Keys that everybody knows are no keys; what stands for "no key" on a local server is let through."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.well_known_secrets import EXAMPLES, STAND_INS, WELL_KNOWN, is_well_known, refuse_well_known

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "secret",
    [
        *("sk-1234", "SK-1234", "changeme", "ChangeMe", "test", "secret", "password", "your-api-key"),
        *(
            "your-openai-key-here",
            "YOUR_ANTHROPIC_API_KEY",
            "sk-your-own-key",
            "<put your key here>",
            "$OPENAI_API_KEY",
        ),
        *(
            "${KEY}",
            "xxxxxxxxxxxxxxxx",
            "sk-xxxxxxxxxxxx",
            "000",
            "gate-example-7",
            "gate-" + "0" * 43,
            "my-secret-token",
        ),
    ],
)
def test_examples_are_refused_by_where_they_stand(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_well_known(secret, "the file 'k'")
    assert str(caught.value) == "the file 'k' holds an example or a well-known key: put your own there"


@pytest.mark.parametrize("secret", [*STAND_INS, "", "s3cret-of-ours", "sk-secret", "a b", "postgresql://u:p@h/d"])
def test_stand_ins_and_what_is_ones_own_are_let_through(secret: str) -> None:
    refuse_well_known(secret, "here")


def test_no_key_of_random_bits_is_ever_refused() -> None:
    for _ in range(300):
        for made in (secrets.token_urlsafe(32), secrets.token_hex(24)):
            assert not is_well_known(made)
            assert not is_well_known("gate-" + made)
            assert not is_well_known("sk-" + made)


def test_the_lists_hold_nothing_twice_and_nothing_of_each_other() -> None:
    assert len({*WELL_KNOWN}) == len(WELL_KNOWN)
    assert not {*STAND_INS} & {*WELL_KNOWN}
    assert all(is_well_known(each) for each in WELL_KNOWN)


def test_every_key_in_the_documentation_and_the_examples_is_on_the_list() -> None:
    read = [ROOT / "README.md", *(p for p in (ROOT / "examples").rglob("*") if p.suffix in {".py", ".md", ".yaml"})]
    found = {
        key for path in read for key in re.findall(r"gate-[A-Za-z0-9_-]{43}(?![\w-])", path.read_text(encoding="utf-8"))
    }
    assert found <= {*EXAMPLES}
