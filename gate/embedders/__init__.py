"""Embedders: unit vectors of texts. To add one: a file here and a line in EMBEDDERS."""

from gate.embedders.hashed_ngrams import HashedNgrams

EMBEDDERS = (HashedNgrams,)

__all__ = ["EMBEDDERS", "HashedNgrams"]
