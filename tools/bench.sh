#!/usr/bin/env bash
# Runs the benchmarks behind docs/performance.md. Called by ./run bench after the build.
#
#   tools/bench.sh [--rounds N] [--only NAME,…] [--out DIR]
#
# Everything that is compared runs alternately in one run; values are medians of N rounds (default 5).
# Writes results.md and results.json to build/bench. --help lists the names.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case ${1:-} in -h | --help) exec python3 "$root/tools/bench_set.py" --help ;; esac
for tool in ucx_perftest fio; do
  command -v "$tool" >/dev/null || {
    echo "bench: $tool is missing; tools/install-deps.sh installs it" >&2
    exit 1
  }
done
exec python3 "$root/tools/bench_set.py" "$@"
