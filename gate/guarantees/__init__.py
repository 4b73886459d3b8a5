"""Guarantees: statistical promises about what is let through, and the certificates behind them."""
