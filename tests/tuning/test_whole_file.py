"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.tuning.whole_file import written_whole


def test_a_file_is_there_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with written_whole(path) as file:
        file.write(b"one\n")
        assert not path.exists()
    assert path.read_bytes() == b"one\n"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_what_fails_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")

    def write_half() -> None:
        with written_whole(path, overwrite=True) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_stands_there_is_written_over_only_when_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")
    with pytest.raises(ConfigError, match=r"file\.txt: this file exists and is not written over"), written_whole(path):
        pass
    assert path.read_bytes() == b"old"
    with written_whole(path, overwrite=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_what_somebody_else_wrote_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"

    def write_while_another_does() -> None:
        with written_whole(path) as file:
            file.write(b"mine")
            path.write_bytes(b"theirs")

    with pytest.raises(ConfigError, match="exists"):
        write_while_another_does()
    assert path.read_bytes() == b"theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with written_whole(link, overwrite=True) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_what_cannot_be_written_is_said_with_the_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a folder of this name"), written_whole(tmp_path):
        pass
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="below: cannot write this file"), written_whole(tmp_path / "file" / "below"):
        pass
