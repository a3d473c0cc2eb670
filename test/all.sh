#!/usr/bin/env bash
# Every test of every module, for make test and make race. Nothing comes from the test cache: the
# import rules read files that it does not see, and a cached pass proves nothing on a server.
#
# Packages whose tests start real servers (test/stack) run one at a time, so that their brokers
# don't starve each other, and so do the providers, which are held to 50 ms of processor time for a
# hostile callback: a neighbour on the core would be charged to them. The others run beside each
# other first. The last lines say what ran on
# real Kafka and Redis. HEED_REAL=required makes it a failure where they cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p .cache
record=.cache/real.log # test/stack writes it
rm -f "$record"

list='{{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}'
packages=$(go list -f "$list" work)
inprocess=$(awk '!/heed\/test\/stack/ && $1 !~ /normalizer\/providers\// {print $1}' <<<"$packages")
providers=$(awk '$1 ~ /normalizer\/providers\// {print $1}' <<<"$packages")
real=$(awk '/heed\/test\/stack/ {print $1}' <<<"$packages")

failed=0
# shellcheck disable=SC2086 # lists of packages
{
	go test -count=1 -timeout 10m $inprocess || failed=1
	go test -count=1 -timeout 10m -p 1 $providers || failed=1
	go test -count=1 -timeout 20m -p 1 $real || failed=1
}

echo
if grep -q '^ran' "$record" 2>/dev/null; then
	echo "On real servers:"
	grep '^ran' "$record" | cut -f2,3,4 | sort -u | awk -F'\t' '{ tests[$3 "\t" $1]++ } END { for (k in tests) { split(k, part, "\t"); printf "  %3d tests of %-24s on %s\n", tests[k], part[2], part[1] } }' | sort -k4
fi
if grep -q '^NOT RUN' "$record" 2>/dev/null; then
	echo "NOT PROVED ON REAL SERVERS, for want of what the reason names:"
	grep '^NOT RUN' "$record" | cut -f2,4 | sort | uniq -c | awk '{ n = $1; package = $2; $1 = $2 = ""; printf "  %3d tests of %-24s%s\n", n, package, $0 }'
fi
[ -s "$record" ] || echo "NOTHING RAN ON REAL SERVERS."
[ $failed = 0 ] || echo "FAIL"
exit $failed
