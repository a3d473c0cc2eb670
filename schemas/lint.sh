#!/usr/bin/env bash
# Judges the contract by tools that are not ours: redocly and AsyncAPI's own parser, from
# .cache/npm, where make tools puts them. Says loudly when it could not.
set -eu
cd "$(dirname "$0")"
npm=../.cache/npm/node_modules
if ! command -v node >/dev/null || [ ! -x $npm/.bin/redocly ] || [ ! -d $npm/@asyncapi/parser ]; then
	echo "NOT JUDGED BY FOREIGN TOOLS: schemas/asyncapi.yaml and schemas/openapi/*.yaml (make tools installs redocly and the AsyncAPI parser; needs node and npm)"
	exit 0
fi
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if $npm/.bin/redocly lint --config redocly.yaml asyncapi.yaml openapi/*.yaml >"$log" 2>&1; then
	echo "redocly: asyncapi.yaml and openapi/*.yaml are valid"
else
	cat "$log"
	exit 1
fi
node asyncapi-check.cjs "$PWD/$npm/@asyncapi/parser" asyncapi.yaml
