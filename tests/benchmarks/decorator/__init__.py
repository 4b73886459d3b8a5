"""What the decorator costs, whether it keeps its head, and what gating an agent's actions brings."""
