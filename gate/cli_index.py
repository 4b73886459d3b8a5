"""The command that makes an index of one's own documents."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from gate.errors import ConfigError, RequestError, UnknownName
from gate.terminal import JsonOption, err, out, plainly, print_json, progress

if TYPE_CHECKING:
    from gate.ports import Embedder
    from gate.retrieval.index_file import IndexFile
    from gate.retrieval.indexing import Embedding, Indexed

_SHOWN = 20
_TIMEOUT = 120.0
"""Seconds for one batch of texts, retries included."""
_NAME = "the index's embedder"


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command(name="index")(plainly(index))


def index(
    folders: Annotated[list[Path], typer.Argument(help="Folders, and files, to read.", metavar="FOLDER...")],
    to: Annotated[Path, typer.Option("--out", "-o", help="The index: made, or brought up to date.")],
    embedder: Annotated[
        str | None,
        typer.Option(help="Kind of embedder for the vectors. Without: the index's own, at first hashed_ngrams."),
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="An option of the embedder, as name=value.")] = None,
    words_only: Annotated[bool, typer.Option("--no-dense", help="No vectors: search by words alone.")] = False,
    max_file_mb: Annotated[
        float, typer.Option(min=0.001, help="Larger files are left out; of JSON lines, longer lines.")
    ] = 64,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw away what is there and begin anew.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make an index of your own documents, for a policy's retriever of kind 'index'.

    Reads Markdown, text, HTML and PDF (which need the extra "documents"), and JSON lines of {"id", "text"} and, if you
    like, "title" and "url". Run again, it brings the index up to date: it then holds what the files hold now, and
    reads only those that changed. It can be killed at any time and goes on where it was. What cannot be read is named
    and left out, and the command exits 1. An index holds the documents in clear.
    """
    from gate.retrieval.folders import listed
    from gate.retrieval.index_file import IndexFile
    from gate.retrieval.indexing import brought_up_to_date

    if words_only and (embedder or option):
        raise RequestError("--no-dense goes with no --embedder and no --option")
    began, listing = time.monotonic(), listed(folders)
    if not listing.files:
        said = "".join(f"; {each.where} {each.reason}" for each in listing.left_out[:1])
        raise RequestError(f"nothing to index in {', '.join(map(str, folders))}: no file of a kind that is read{said}")
    with IndexFile.open(to, rebuild=rebuild) as file:
        embed = _embedding(file, embedder, option or [], words_only=words_only)
        with progress("indexing files", len(listing.files), 0) as advance:
            done = brought_up_to_date(file, listing, embed, max_bytes=int(max_file_mb * 1e6), advance=advance)
        by = file.embedder.fingerprint if file.embedder else None
    _tell(done, to, by, time.monotonic() - began, as_json=as_json)
    if not done.passages:
        raise RequestError("the index is empty: nothing could be read")
    if done.left_out:
        raise typer.Exit(1)


def _tell(done: Indexed, to: Path, by: str | None, seconds: float, *, as_json: bool) -> None:
    if as_json:
        counts = {name: getattr(done, name) for name in ("added", "changed", "unchanged", "removed", "passages")}
        left_out = [{"file": each.where, "reason": each.reason} for each in done.left_out]
        said = {"index": str(to), **counts, "embedder": by, "left_out": left_out}
        print_json({**said, "other_kinds": dict(done.other_kinds), "seconds": round(seconds, 3)})
        return
    for each in done.left_out[:_SHOWN]:
        err.print(Text(f"left out: {each.where} {each.reason}", style="yellow"), soft_wrap=True)
    if (more := len(done.left_out) - _SHOWN) > 0:
        err.print(Text(f"left out: {more} more (--json lists all)", style="yellow"))
    if done.other_kinds:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in done.other_kinds.most_common(8))
        out.print(Text(f"of other kinds, not read: {kinds}", style="dim"))
    files = f"{done.added} added, {done.changed} changed, {done.removed} removed, {done.unchanged} as they were"
    vectors = f"vectors by {by}" if by else "no vectors"
    out.print(Text(f"{to}: {done.passages} passages ({vectors}); files: {files}; {seconds:.1f} s"), soft_wrap=True)


# --- vectors -----------------------------------------------------------------------------------------------------


def _embedding(file: IndexFile, kind: str | None, options: Sequence[str], *, words_only: bool) -> Embedding | None:
    """What makes vectors for this index: as it was begun, else as asked for."""
    from gate.retrieval.index_file import EmbedderRecord

    held = file.embedder
    if file.begun and held is None:
        if kind:
            raise ConfigError("this index has no vectors: give --rebuild to make them", where=str(file.path))
        return None
    if words_only:
        if held is not None:
            raise ConfigError("this index has vectors: give --rebuild to begin without", where=str(file.path))
        file.choose(None)
        return None
    if held is not None and kind is None and not options:
        made, _ = _made(held.kind, held.options, file.path)
    else:
        made, checked = _made(kind or (held.kind if held else "hashed_ngrams"), dict(map(_named, options)), file.path)
        if held is None:
            file.choose(EmbedderRecord(made.kind, checked, made.fingerprint))  # type: ignore[union-attr]
            held = file.embedder
    if held is not None and held.fingerprint != made.fingerprint:
        said = f"the vectors of this index are by {held.fingerprint!r}, not {made.fingerprint!r}"
        raise ConfigError(f"{said}: give --rebuild to make all of them anew", where=str(file.path))
    return _asking(made)


def _named(option: str) -> tuple[str, str]:
    name, parted, value = option.partition("=")
    if not parted or not name:
        raise RequestError(f"--option takes name=value, not {option!r}")
    return name, value


def _made(kind: str, options: dict[str, Any], path: Path) -> tuple[Embedder, dict[str, Any]]:
    from pydantic import ValidationError

    from gate.embedders import EMBEDDERS
    from gate.ports import Price

    kinds = {each.kind: each for each in EMBEDDERS}
    if kind not in kinds:
        raise UnknownName("embedder", kind, kinds)
    try:
        checked = kinds[kind].Options.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its options"
        raise RequestError(f"the embedder {kind!r}: {where}: {first['msg']} (give --option name=value)") from error
    made: Embedder = kinds[kind].from_options(_NAME, checked, Price())  # type: ignore[arg-type]
    return made, checked.model_dump(mode="json", exclude_unset=True)


def _asking(embedder: Embedder) -> Embedding:
    """Batches of texts, put to an embedder as a policy's is."""
    import numpy as np

    from gate.drivers import ThreadedDriver, World
    from gate.drivers.world import Recording
    from gate.effects import Embed, embed
    from gate.embedders import HashedNgrams

    if isinstance(embedder, HashedNgrams):
        return embedder.embed
    driver = ThreadedDriver(World({}, embedders={_NAME: embedder}, timeouts={_NAME: _TIMEOUT}))

    def asked(texts: Sequence[str]) -> Any:
        reply = driver.run(embed(Embed(_NAME, tuple(texts))), Recording())
        return np.asarray(reply.value.rows, dtype=np.float64)

    return asked
