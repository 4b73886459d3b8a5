#!/usr/bin/env bash
# Observe, then enforce: from a policy that nobody tuned to one that keeps its promise, on the traffic it is for, without
# one answer changed on the way. On the model that ships with gate.
#
#   examples/observe/run.sh [--quick] [FOLDER [PORT]]      (needs: pip install '.[tune]' openai; some three minutes)
#
# Everything it writes goes to FOLDER, by default build/observe, which is begun anew. play.py plays the application,
# which asks through the plain OpenAI client, and the people who say what is right: yours open /dashboard/review.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
questions=800 held_out=300
if [ "${1:-}" = --quick ]; then questions=200 held_out=60 && shift; fi
out=${1:-build/observe} port=${2:-8801}
gate=${GATE:-$(command -v gate || echo .venv/bin/gate)} # 'make demo' puts it into .venv
python=${PYTHON:-$(command -v python3)}
rm -rf "$out" && mkdir -p "$out"
server=
stop() { [ -z "$server" ] || { kill "$server" && wait "$server" || true; server=; }; }
trap stop EXIT

# 1. the first model's drafts go out as they are; what gate would do, and all there is to know of it, goes to the log
$gate serve --policy "$here/policy.yaml" --port "$port" --observe \
  --log "sqlite:///$out/decisions.db" --keep text --audit-share 1 --full-evidence 1 >"$out/observe.log" 2>&1 &
server=$!
"$python" "$here/play.py" ask "$port" fit "$questions" "$out/asked.jsonl"
"$python" "$here/play.py" label "$port" "$out/asked.jsonl"

# 2. the labelled questions with their evidence, as 'gate collect' would have had them: nothing is asked again
$gate log collect --url "sqlite:///$out/decisions.db" --policy "$here/policy.yaml" --out "$out/collection"
# 3. what people hold to be right also tells which answers of the other stages are
$gate grade "$out/collection"
# 4. fit on 40 %, search, certify on 60 %; the questions that judge the result below are others
$gate tune "$out/collection" --policy "$here/policy.yaml" --out "$out/ramp.yaml" \
  --fit-share 0.4 --certify-share 0.6 --segment "what the application asks" --overwrite

# the same held-out questions, as they are answered now …
"$python" "$here/play.py" ask "$port" test "$held_out" "$out/observed.jsonl"
stop
# 5. … and enforced
$gate serve --policy "$out/ramp.yaml" --port "$port" --log "sqlite:///$out/decisions.db" >"$out/enforce.log" 2>&1 &
server=$!
"$python" "$here/play.py" ask "$port" test "$held_out" "$out/enforced.jsonl"
"$python" "$here/play.py" compare "$out/observed.jsonl" "$out/enforced.jsonl"
echo "serve it:  gate serve --policy $out/ramp.yaml"
