"""The tables of the decision log as they are now. What makes them, and changes older ones: `gate.log.migrations`."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import BigInteger, Boolean, Column, Double, MetaData, Table, Text

from gate.log.kept import Kept

METADATA = MetaData()

META = Table("gate_log", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
"""``version`` of the tables, and ``hash_key``: the secret with which questions are hashed."""

DECISIONS = Table(
    "gate_decisions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("at", Double, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("door", "key", "request_id", "policy", "policy_fingerprint")),
    Column("certified", Boolean, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("mode", "action", "reason", "stage")),
    *(Column(name, Double) for name in ("p", "threshold")),
    *(Column(name, BigInteger, nullable=False) for name in ("calls", "prompt_tokens", "completion_tokens")),
    *(Column(name, Double, nullable=False) for name in ("money", "seconds")),
    Column("status", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    *(Column(name, Boolean, nullable=False) for name in ("streamed", "retracted")),
    Column("audit", Double),
    *(Column(name, Boolean, nullable=False) for name in ("full_evidence", "further")),
    *(Column(name, Text, nullable=False) for name in ("question_hash", "question", "answer")),
    Column("checked", Boolean, nullable=False),
)
"""One row a decision. ``checked``: it was reviewed."""

TRACES = Table("gate_traces", METADATA, Column("id", Text, primary_key=True), Column("trace", Text, nullable=False))
"""The whole record as `gate.log.jsonl` reads it."""

LABELS = Table(
    "gate_labels",
    METADATA,
    Column("seq", BigInteger, primary_key=True),
    Column("decision", Text, nullable=False),
    Column("correct", Boolean),
    Column("author", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("note", Text, nullable=False),
    Column("answer", Text, nullable=False),
)
"""In the order in which they came."""

MONITORS = Table(
    "gate_monitors",
    METADATA,
    Column("policy", Text, primary_key=True),
    Column("policy_fingerprint", Text, primary_key=True),
    Column("state", Text, nullable=False),
)
"""A `gate.guarantees.monitor.DriftMonitor` each, as JSON."""

KEPT = tuple(field.name for field in fields(Kept) if field.name in DECISIONS.columns)
"""The columns of a decision in the order of its fields: what is written, and read, of it."""
WAITING = "audit IS NOT NULL AND NOT checked"
"""Which decisions wait for a person. Word for word as in the index: SQLite uses it for nothing else."""
