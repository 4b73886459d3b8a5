"""What the routes bring, and what the rule that chooses among them saves."""
