"""Embedders: unit vectors of texts. To add one: a file here and a line in EMBEDDERS."""

from gate.embedders.hashed_ngrams import HashedNgrams
from gate.embedders.openai_embeddings import OpenAIEmbeddings
from gate.embedders.sentence_transformers import SentenceTransformers

EMBEDDERS = (HashedNgrams, OpenAIEmbeddings, SentenceTransformers)

__all__ = ["EMBEDDERS", "HashedNgrams", "OpenAIEmbeddings", "SentenceTransformers"]
