"""The tests in this folder need packages that the others do without: ``make test-integrations`` runs them."""

from __future__ import annotations

import os

if os.environ.get("GATE_TEST_INTEGRATIONS") != "1":
    collect_ignore_glob = ["test_*.py"]
