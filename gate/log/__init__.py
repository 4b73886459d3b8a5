"""The decision log: what was decided, when and why."""
