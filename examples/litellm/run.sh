#!/usr/bin/env bash
# A LiteLLM proxy that has gate judge its answers, offline: the pocket model stands in for the models behind it.
#
#   examples/litellm/run.sh [--stay] [FOLDER [GATE_PORT [LITELLM_PORT]]]      (needs: pip install . 'litellm[proxy]')
#
# Logs and the files with these ports in them go to FOLDER, by default build/litellm, which is begun anew. With --stay
# both servers run on, to be asked whatever you like.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
stay=
if [ "${1:-}" = --stay ]; then stay=yes && shift; fi
out=${1:-build/litellm} gate_port=${2:-8800} litellm_port=${3:-4000}
gate=${GATE:-$(command -v gate || echo .venv/bin/gate)} # 'make demo' puts it into .venv
litellm=${LITELLM:-litellm}
export LITELLM_LOCAL_MODEL_COST_MAP=True # else it fetches a list of prices when it starts
: "${LITELLM_MASTER_KEY:=sk-$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')}" # it does not start without one
export LITELLM_MASTER_KEY
rm -rf "$out" && mkdir -p "$out"
servers=()
stop() { kill "${servers[@]}" 2>/dev/null; wait; }
trap stop EXIT

cp "$here/policy.yaml" "$here/model.yaml" "$out"
for file in gate.yaml config.yaml; do sed "s/\b8800\b/$gate_port/" "$here/$file" >"$out/$file"; done
$gate serve --config "$out/gate.yaml" --access-log >"$out/gate.log" 2>&1 & servers+=($!)
$litellm --config "$out/config.yaml" --host 127.0.0.1 --port "$litellm_port" >"$out/litellm.log" 2>&1 & servers+=($!)
answers() { # URL PROCESS
  until curl --silent --fail --output /dev/null "$1"; do
    kill -0 "$2" 2>/dev/null || { tail "$out"/*.log && exit 1; }
    sleep 0.3
  done
}
answers "http://127.0.0.1:$gate_port/readyz" "${servers[0]}"
answers "http://127.0.0.1:$litellm_port/health/liveliness" "${servers[1]}"

ask() { # MODEL QUESTION [MORE FIELDS]
  echo "— $1: $2 ${3:-}"
  curl --silent --show-error --max-time 60 "http://127.0.0.1:$litellm_port/v1/chat/completions" \
    --header "authorization: Bearer $LITELLM_MASTER_KEY" \
    --json "{\"model\": \"$1\", \"messages\": [{\"role\": \"user\", \"content\": \"$2\"}]${3:+, $3}}" |
    grep --only-matching --extended-regexp '"(content|message)": ?"[^"]*"' || echo "no answer: see $out"
}
ask pocket "Where is Nanjing?"                               # the samples bear the answer out: it goes out
ask pocket "Where is Leicester?"                             # they do not: it is blocked
ask pocket "Where is Leicester?" '"stream": true'            # nor is a word of it streamed
ask pocket-or-better "Where is Leicester?"                   # the large model's answer stands in its place
ask pocket-or-better "Where is Multan?" '"stream": true'     # neither model is sure enough: the refusal does

if [ -n "$stay" ]; then
  echo "LiteLLM is on http://127.0.0.1:$litellm_port/v1, its key is $LITELLM_MASTER_KEY; stop it with Ctrl-C"
  wait
fi
