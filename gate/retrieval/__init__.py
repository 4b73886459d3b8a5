"""Retrieval: finding passages for a question. To add a retriever: a file here and a line in RETRIEVERS."""

from gate.retrieval.bm25 import Bm25Retriever, PocketWorldRetriever
from gate.retrieval.elasticsearch import Elasticsearch
from gate.retrieval.http_json import HttpJson
from gate.retrieval.index import IndexRetriever
from gate.retrieval.pgvector import PgVector

RETRIEVERS = (PocketWorldRetriever, Bm25Retriever, IndexRetriever, HttpJson, Elasticsearch, PgVector)

__all__ = [
    "RETRIEVERS",
    "Bm25Retriever",
    "Elasticsearch",
    "HttpJson",
    "IndexRetriever",
    "PgVector",
    "PocketWorldRetriever",
]
