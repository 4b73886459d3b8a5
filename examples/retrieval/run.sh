#!/usr/bin/env bash
# From a folder of documents to answers out of them, on the model that ships with gate.
#
#   examples/retrieval/run.sh [FOLDER]      (some seconds)
#
# Everything it writes goes to FOLDER, by default build/retrieval. Run again, it reads only what changed in docs/. For
# your own documents, put Markdown, text and JSON lines there; HTML and PDF need: pip install '.[documents]'
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-build/retrieval}
gate=${GATE:-$(command -v gate || echo .venv/bin/gate)} # 'make demo' puts it into .venv
mkdir -p "$out"

$gate index "$here/docs" --out "$out/docs.index"
cp "$here/policy.yaml" "$out/policy.yaml"
# the model has never heard of it: its samples do not agree, so the index is searched (try Hoshimine, Kesabu, Valdoro …)
$gate ask "Where is Skarnvik?" --policy "$out/policy.yaml"
echo "serve it:  gate serve --policy $out/policy.yaml"
