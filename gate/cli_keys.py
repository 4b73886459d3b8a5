"""The commands about client keys: make one, list them, disable one, tell what they have used."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gate.errors import RequestError
from gate.terminal import JsonOption, err, out, plainly, print_json

if TYPE_CHECKING:
    from gate.proxy.counting import Used
    from gate.proxy.keys import KeyEntry

FileOption = Annotated[Path, typer.Option("--file", "-f", help="The key file: 'keys' of a server's configuration.")]
_FILE = Path("keys.yaml")
_HELP = "Client keys of a server: they say who may ask, how often, and for how much."


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    keys = typer.Typer(help=_HELP, no_args_is_help=True)
    keys.command(name="new")(plainly(new))
    keys.command(name="list")(plainly(list_))
    keys.command(name="disable")(plainly(disable))
    keys.command(name="usage")(plainly(usage))
    app.add_typer(keys, name="keys")


def new(
    name: Annotated[str, typer.Option(help="Whose key it is: shown in logs and on the dashboard.")],
    file: FileOption = _FILE,
    policy: Annotated[
        list[str] | None, typer.Option(help="A policy it may use, the default first; without: all of the server's.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model it may ask endpoints for that are passed through; '*': any.")
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="What it may do: ask (the default), feedback, review, admin, metrics.")
    ] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="The most requests a minute.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="The most tokens a minute, read and written.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="The most requests at once.")] = None,
    spend: Annotated[
        str | None,
        typer.Option(metavar="DOLLARS/PER", help="The most it may spend, per day, month or total: 50/month."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DATE", help="The first day, in UTC, on which it is no longer valid.")
    ] = None,
) -> None:
    """Make a key and append its entry to the key file, which is made where there is none.

    The key is printed once, alone, on standard output; the file holds its hash. A running server takes it up by itself
    when its configuration says 'reload'.
    """
    from gate.proxy.key_file import added

    rate = {"requests_per_minute": requests, "tokens_per_minute": tokens, "concurrency": concurrency}
    settings: dict[str, Any] = {
        "policies": policy,
        "models": model,
        "rate": {name: value for name, value in rate.items() if value is not None},
        "spend": _spend(spend) if spend else None,
        "roles": role,
        "expires": _day(expires) if expires else None,
    }
    key = added(file, name, {field: value for field, value in settings.items() if value})
    err.print(Text(f"{file}: added {name!r}. The key is shown this once:"), soft_wrap=True)
    out.print(key, highlight=False, soft_wrap=True)


def list_(file: FileOption = _FILE, as_json: JsonOption = False) -> None:
    """List the keys of a file: whose they are and what they may do. The keys themselves nobody can show."""
    from gate.proxy.keys import entries_of

    listed = [_row(entry) for entry in entries_of(file)]
    if as_json:
        print_json({"keys": listed})
        return
    table = Table("name", "roles", "policies", "models", "limits", "valid")
    for row in listed:
        named = [", ".join(row[field]) for field in ("roles", "policies", "models")]
        table.add_row(*map(Text, (row["name"], *named, _limits(row), _validity(row))))
    out.print(table)


def disable(
    name: Annotated[str, typer.Argument(help="Whose key.")],
    file: FileOption = _FILE,
) -> None:
    """Disable a key. Its entry stays in the file, so that what it was is known."""
    from gate.proxy.key_file import disabled

    changed = disabled(file, name)
    out.print(Text(f"{file}: {name!r} is disabled" if changed else f"{file}: {name!r} was disabled already"))


def usage(
    config: Annotated[Path, typer.Option("--config", "-c", help="The server's settings, a YAML file.")],
    as_json: JsonOption = False,
) -> None:
    """Tell what the keys of a server have used: on this day, in this month (UTC) and ever, as charged until now."""
    from gate.proxy.key_usage import usage_by_key
    from gate.proxy.settings import read_settings

    used = usage_by_key(read_settings(config))
    if as_json:
        print_json({"keys": [{"name": name, **asdict(each)} for name, each in used.items()]})
        return
    table = Table("name", "under way", "day", "month", "ever")
    for name, each in used.items():
        table.add_row(*map(Text, (name, str(each.under_way), *map(_used, (each.day, each.month, each.total)))))
    out.print(table)


def _used(used: Used) -> str:
    return f"${used.money:.6g}\n{used.requests} requests\n{used.tokens} tokens"


def _row(entry: KeyEntry) -> dict[str, Any]:
    over = entry.expires is not None and entry.expires <= datetime.now(UTC).date()
    return {
        "name": entry.name,
        "state": "disabled" if entry.disabled else "expired" if over else "valid",
        "policies": ["all"] if entry.policies is None else list(entry.policies),
        **entry.model_dump(mode="json", include={"models", "rate", "spend", "roles", "expires"}),
    }


def _limits(row: dict[str, Any]) -> str:
    words = {"requests_per_minute": "{} requests a minute", "tokens_per_minute": "{} tokens a minute"}
    words |= {"concurrency": "{} at once"}
    said = [shown.format(row["rate"][name]) for name, shown in words.items() if row["rate"][name]]
    if row["spend"]:
        said.append(f"${row['spend']['limit']:g} " + {"total": "in all"}.get(per := row["spend"]["per"], f"a {per}"))
    return "\n".join(said)


def _validity(row: dict[str, Any]) -> str:
    if row["state"] != "valid":
        return str(row["state"])
    return f"until {row['expires']}" if row["expires"] else "yes"


def _spend(text: str) -> dict[str, Any]:
    limit, parted, per = text.partition("/")
    try:
        return {"limit": float(limit), "per": per if parted else "total"}
    except ValueError:
        raise RequestError(f"--spend takes dollars per day, month or total, such as 50/month, not {text!r}") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RequestError(f"--expires takes a date such as 2027-01-31, not {text!r}") from None
