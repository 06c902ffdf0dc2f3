#!/bin/bash
# compare.sh BENCHFS PROGRAM [ARGUMENT…]: runs a program twice with the name of an empty directory as its last
# argument, on a local file system and below the prefix of a cluster of its own, and compares what it prints and
# how it ends.
set -eu
benchfs=$1
shift

# shellcheck source=tests/preload/cluster.sh
. "${0%/*}/cluster.sh"
start_cluster 2
mkdir "$room/work"

# Prints the output with the directory's name taken out, and how the program ended.
run_in() {
  local directory=$1 status=0
  shift
  timeout 120 "$@" "$directory" >"$room/output" 2>&1 </dev/null || status=$?
  sed "s|$directory|DIRECTORY|g" "$room/output"
  echo "status $status"
}

run_in "$room/work" "$@" >"$room/expected"
if grep -qx "status 77" "$room/expected"; then  # cannot be tried here
  cat "$room/expected"
  exit 77
fi
"$benchfs" run -- mkdir /bfs/work
run_in /bfs/work "$benchfs" run -- "$@" >"$room/actual"
diff -u --text --label local "$room/expected" --label prefix "$room/actual"
