"""gate: answers when it knows, and says so when it doesn't."""

__version__ = "0.1.0"
