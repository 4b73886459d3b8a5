#!/usr/bin/env bash
# From questions with their answers to a certified policy and a report, on the model that ships with gate.
#
#   examples/tune_policy/run.sh [FOLDER [QUESTIONS]]      (needs: pip install '.[tune]'; some two minutes)
#
# Everything it writes goes to FOLDER, by default build/tune_policy. Run again, it goes on where it was: what is collected
# is not asked for again. For your own model, change policy.yaml and questions.csv.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-build/tune_policy}
questions=${2:-$here/questions.csv}
gate=${GATE:-$(command -v gate || echo .venv/bin/gate)} # 'make demo' puts it into .venv
mkdir -p "$out"

# every model, closed book and with passages, all samples: the only step that costs anything
$gate collect "$questions" --policy "$here/policy.yaml" --out "$out/collection"
# which answers are right
$gate grade "$out/collection" --grader exact
# fit on 35 %, search, certify on 45 %; the rest is left to judge the result
$gate tune "$out/collection" --policy "$here/policy.yaml" --out "$out/my-policy.yaml" \
  --fit-share 0.35 --certify-share 0.45 --segment "questions about geography" --overwrite
$gate eval "$out/my-policy.yaml" --on "$out/collection"
$gate report "$out/my-policy.yaml" --on "$out/collection" --out "$out/report.html" --overwrite
echo "serve it:  gate serve --policy $out/my-policy.yaml"
