"""Load and faults: what clients see of gate while something breaks, what the log holds, how it heals."""
