"""The pages at /dashboard: what is served, what was decided and why, how good it is, what it costs, what to check."""
