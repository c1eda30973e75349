#!/usr/bin/env bash
# Audit a model in a pipeline: ci/audit.sh MODEL DATA OUT [options of `auditor audit`].
# Writes the report and report.{junit.xml,sarif,md} into OUT, whatever the verdict, and then exits as `auditor audit` did:
# 0 passed, 1 not done, 2 a gate failed, 3 inconclusive, 64 wrong usage. On GitHub it also writes the step's outputs
# verdict, exit-code and report, and the run's summary.
set -uo pipefail

model=$1 data=$2 out=$3
shift 3

mkdir -p "$out"
rm -f "$out"/report.*  # what an earlier run left is no answer to this one; finished stages stay in $out/.auditor
auditor audit "$model" "$data" --out "$out" "$@"
code=$?

verdict=none
if [ -f "$out/report.json" ]; then
    for format in junit:junit.xml sarif:sarif markdown:md; do
        auditor export "${format%%:*}" "$out/report.json" --out "$out/report.${format#*:}" || exit 1
    done
    verdict=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["verdict"])' "$out/report.json") || exit 1
    [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$out/report.md" >> "$GITHUB_STEP_SUMMARY"
fi
if [ -n "${GITHUB_OUTPUT:-}" ]; then
    printf 'verdict=%s\nexit-code=%s\nreport=%s\n' "$verdict" "$code" "$out" >> "$GITHUB_OUTPUT"
fi
exit "$code"
