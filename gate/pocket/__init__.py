"""The pocket model: a tiny language model of geography that ships with gate, for trying and for tests."""
