"""The command ``gate deploy``: the server of a file as replicas in a Ray cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from gate.errors import RequestError
from gate.terminal import out, plainly, policy_view, status

if TYPE_CHECKING:
    from gate.deploy.replicas import Replicas


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command(name="deploy")(plainly(deploy))


def deploy(
    config: Annotated[Path, typer.Argument(help="The server's settings, a YAML file: as 'gate serve --config' has.")],
    replicas: Annotated[int | None, typer.Option(min=1, help="How many replicas run.")] = None,
    least: Annotated[
        int | None, typer.Option("--min", min=1, help="The fewest that run, however little comes.")
    ] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="The most that run, however much comes.")] = None,
    target_queue: Annotated[
        float, typer.Option(min=0.1, help="Requests under way in each, that more or fewer replicas bring about.")
    ] = 16,
    address: Annotated[str, typer.Option(help="The Ray cluster; auto is that of this machine.")] = "auto",
    at: Annotated[
        str | None, typer.Option(help="Where the settings lie on the cluster's nodes, if not where they lie here.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print", help="Print the configuration for 'serve deploy' and KubeRay; deploy nothing.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds until the cluster must answer, and then until the replicas must run.")
    ] = 300,
) -> None:
    """Run a server as replicas in a Ray cluster: the application of 'gate serve', from the same settings.

    Run it again when something changed. Policies are then read again by every replica; other settings replace the
    replicas one by one, and those before finish what they began. The files must lie on every node, and the secrets in
    its environment. More replicas than one need shared: (Redis or PostgreSQL) and a log in PostgreSQL.
    """
    import yaml

    from gate.deploy.replicas import serve_config
    from gate.proxy.serving import check
    from gate.proxy.settings import read_settings

    settings = read_settings(config)
    check(settings.model_copy(update={"workers": 1}))
    wanted = _wanted(replicas, least, most, target_queue)
    made = serve_config(config, settings, wanted, at=at)
    if print_config:
        sys.stdout.write(yaml.safe_dump(dict(made), sort_keys=False))
        return
    from gate.assemble import load_answering
    from gate.deploy import ray

    for source in settings.policies:
        out.print(policy_view(load_answering(source)))
    with status("deploying"):
        ray.connect(address, seconds=timeout)
        ray.deploy(made, config.read_bytes(), seconds=timeout)
    count = f"{wanted.least} to {wanted.most}" if wanted.least < wanted.most else str(wanted.least)
    out.print(Text(f"deployed: {count} replica{'' if count == '1' else 's'} at {settings.host}:{settings.port}"))


def _wanted(replicas: int | None, least: int | None, most: int | None, target_queue: float) -> Replicas:
    from gate.deploy.replicas import Replicas

    if replicas is not None and (least is not None or most is not None):
        raise RequestError("--replicas says how many run; --min and --max let that follow the load: give one or other")
    if replicas is not None:
        return Replicas(replicas, replicas, target_queue)
    fewest = least or 1
    return Replicas(fewest, fewest if most is None else most, target_queue)
