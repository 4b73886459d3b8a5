"""The command that says how to serve a model with vLLM so that gate can read its internal states."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gate.errors import RequestError
from gate.terminal import err, plainly


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command(name="vllm-args")(plainly(vllm_args))


def vllm_args(
    model: Annotated[str, typer.Argument(help="The model, as vLLM takes it: a folder, or a name of the hub.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    layers: Annotated[
        str | None,
        typer.Option(help="Layers to read after, from 1 on, as in 12,16,19,32. Without: at shares of the depth."),
    ] = None,
    served_model_name: Annotated[str | None, typer.Option(help="The name clients ask for.")] = None,
) -> None:
    """Print the command that serves a model with vLLM and reads its internal states for those who ask.

    Run it where gate is installed beside vLLM. Whoever can reach the server can ask for states: they tell of the text.
    """
    from gate.engine_plugin.serve_line import serve_line, untried

    try:
        line = serve_line(model, host=host, port=port, layers=_numbers(layers), served_model_name=served_model_name)
    except ValueError as error:
        raise RequestError(str(error)) from error
    if warning := untried():
        err.print(warning, markup=False, highlight=False, soft_wrap=True)
    sys.stdout.write(f"{line.shell}\n")  # as it is: a terminal's width must not break it


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise ValueError(f"layers must be numbers parted by commas, not {text!r}") from error
