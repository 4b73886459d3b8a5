"""Retrieval: finding passages for a question."""

from gate.retrieval.bm25 import Bm25Retriever

__all__ = ["Bm25Retriever"]
