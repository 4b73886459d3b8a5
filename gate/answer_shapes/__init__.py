"""Shapes of answers: what functions and clients return for one. To add one: a file here and a line in SHAPES."""

from gate.answer_shapes.anthropic_message import AnthropicMessage
from gate.answer_shapes.chat import ChatCompletion
from gate.answer_shapes.langchain_message import LangChainMessage
from gate.answer_shapes.responses import Response
from gate.answer_shapes.shape import Read, Shape
from gate.answer_shapes.structured import Structured
from gate.answer_shapes.text import Text

SHAPES: tuple[Shape, ...] = (
    Text(),
    ChatCompletion(),
    Response(),
    AnthropicMessage(),
    LangChainMessage(),
    Structured(),
)
"""In the order they are tried: what fits the first is read by it."""


def shape_of(value: object) -> Shape:
    """The shape of an answer. Raises `TypeError` where it is none that gate knows."""
    for shape in SHAPES:
        if shape.fits(value):
            return shape
    known = ", ".join(shape.name for shape in SHAPES)
    raise TypeError(f"cannot read an answer off a {type(value).__qualname__}: gate knows {known}")


__all__ = ["SHAPES", "Read", "Shape", "shape_of"]
