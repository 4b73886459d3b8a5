"""Gate, guard."""
