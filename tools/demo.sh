#!/usr/bin/env bash
# Shows BenchFS at work, and that it keeps what it is given. Called by ./run demo after the build.
#
#   tools/demo.sh [--engine memory|file] [--servers N] [--tree DIR] [--large-mib N]
#
# Starts a local cluster, copies a real tree and a generated file of 1 GiB (--large-mib) in, reads them back, compares
# contents by checksum and modes, times and links, measures, prints one table, stops the cluster and
# removes everything it made. Exit status 1 when anything differs or fails.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=${BENCHFS_BIN:-$root/build/release/bin}
engine=memory
servers=4
tree=/usr/include
large_mib=1024

fail() {
  echo "demo: $1" >&2
  exit 1
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --engine) engine=${2:?} && shift 2 ;;
    --servers) servers=${2:?} && shift 2 ;;
    --tree) tree=${2:?} && shift 2 ;;
    --large-mib) large_mib=${2:?} && shift 2 ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit 0 ;;
    *) fail "unknown argument '$1'; try --help" ;;
  esac
done
# Source file, copies back, and with the file engine what the cluster stores and measures.
space_mib=$((3 * large_mib + 1024))
[[ -x $bin/benchfs && -x $bin/benchfsd ]] || fail "no programs in $bin; ./run build makes them"
[[ -d $tree ]] || fail "$tree is not a directory; choose another with --tree"
tree=$(cd "$tree" && pwd -P)

PATH=$bin:$PATH

# Local files: in memory where there is plenty of it, so that the disk does not decide how long the
# demo takes.
place=${TMPDIR:-/tmp}
memory_mib=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
if [[ -z ${TMPDIR:-} && -w /dev/shm && $memory_mib -ge $((3 * space_mib)) ]]; then
  place=/dev/shm
fi
work=$(mktemp -d "$place/benchfs-demo.XXXXXX")
export BENCHFS_REGISTRY_DIR=$work/registry

# Runs once, whatever ends the script.
clean_up() {
  local status=$?
  trap - EXIT INT TERM HUP
  if [[ -d $BENCHFS_REGISTRY_DIR ]]; then
    benchfs down >/dev/null || status=1
  fi
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

free_mib=$(df --output=avail -m "$work" | tail -1)
[[ $free_mib -ge $space_mib ]] ||
  fail "$work has $free_mib MiB free, $space_mib are needed; set TMPDIR to a larger place"

now() { date +%s%N; }
started=$(now)
seconds_since() { echo "$((($(now) - $1) / 1000000))" | awk '{printf "%.1f", $1 / 1000}'; }

# step "what" command…: runs it, remembers how long it took in $work/steps.
step() {
  local what=$1 begin
  shift
  printf '%5s s  %s\n' "$(seconds_since "$started")" "$what"
  begin=$(now)
  "$@" || fail "$what: failed"
  printf '%s\t%s\n' "$(seconds_since "$begin")" "$what" >>"$work/steps"
}

make_large_file() {
  # Every MiB is another window of a random block, with its number in front: no two are alike.
  python3 - "$work/large.bin" "$large_mib" <<'END'
import os, sys
path, count = sys.argv[1], int(sys.argv[2])
mib = 1 << 20
block = memoryview(os.urandom(2 * mib))
with open(path, "wb", buffering=0) as file:
    for number in range(count):
        start = number * 1021 % mib
        file.write(number.to_bytes(8, "little") + bytes(block[start:start + mib - 8]))
END
}

# Checksums of all regular files below a directory, in the order of their names. Whole lines are
# written at a time, so those of several b2sum do not mix.
checksums() {
  (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z |
    xargs -0 -r -n 512 -P "$(nproc)" stdbuf -oL b2sum -- | LC_ALL=C sort -k 2) >"$2"
}

# Type, mode, time of last change and link target of everything below a directory.
attributes() {
  (cd "$1" && find . -mindepth 1 \( -type l -printf '%y %p -> %l\n' \) \
    -o \( -type f -printf '%y %m %s %T@ %p\n' \) -o -printf '%y %m %T@ %p\n' |
    LC_ALL=C sort) >"$2"
}

# same A B "what": files of lines that must be equal.
same() {
  if ! cmp -s "$1" "$2"; then
    echo "demo: $3 differ; the first lines (< original, > from BenchFS):" >&2
    diff "$1" "$2" | head -10 >&2 || true
    return 1
  fi
}

copy_in() {
  benchfs cp -r "$tree" bfs:/tree && benchfs cp "$work/large.bin" bfs:/large.bin
}

list() {
  local want have
  benchfs ls bfs:/ >"$work/listing" || return 1
  want=$(find "$tree" -mindepth 1 | wc -l)
  have=$(benchfs tree -a bfs:/tree | grep -c '[─-] ' || true)
  [[ $have -eq $want ]] || { echo "demo: the listing shows $have names, $want exist" >&2; return 1; }
}

copy_out() {
  mkdir "$work/back" &&
    benchfs cp -r bfs:/tree "$work/back/tree" && benchfs cp bfs:/large.bin "$work/back/large.bin"
}

compare() {
  checksums "$tree" "$work/sums.before" || return 1
  checksums "$work/back/tree" "$work/sums.after" || return 1
  same "$work/sums.before" "$work/sums.after" "contents" || return 1
  attributes "$tree" "$work/attributes.before" || return 1
  attributes "$work/back/tree" "$work/attributes.after" || return 1
  same "$work/attributes.before" "$work/attributes.after" "modes, times or links" || return 1
  (cd "$work" && b2sum large.bin) >"$work/large.before" || return 1
  (cd "$work/back" && b2sum large.bin) >"$work/large.after" || return 1
  same "$work/large.before" "$work/large.after" "checksums of large.bin"
}

measure_rpc() {
  benchfs bench rpc --seconds 1 --payload 8,64K --json "$work/rpc.json" >/dev/null
}
measure_io() {
  benchfs bench io --clients 2 --size 256M --json "$work/io.json" >/dev/null
}
measure_md() {
  benchfs bench md --clients 2 --files 3000 --json "$work/md.json" >/dev/null
}

start=(benchfs up --servers "$servers" --engine "$engine" --json)
if [[ $engine == file ]]; then
  start+=(--data-dir "$work/data")
fi
start_cluster() { "${start[@]}" >"$work/up.json"; }
read_statistics() { benchfs status --json >"$work/status.json"; }

step "starting $servers daemons, $engine engine" start_cluster
step "generating a file of $large_mib MiB" make_large_file
step "copying $tree and the large file into BenchFS" copy_in
step "listing" list
step "reading everything back" copy_out
step "comparing every file by checksum, and modes, times and links" compare
step "measuring round trips (benchfs bench rpc)" measure_rpc
step "measuring file data (benchfs bench io)" measure_io
step "measuring metadata (benchfs bench md)" measure_md
read_statistics
step "stopping the cluster" benchfs down
remove_files() { rm -rf "$work/back" "$work/data" "$work/registry"; }
step "removing the copies" remove_files

python3 "$root/tools/demo_table.py" "$work" "$tree"
printf '\nEverything came back as it was. %s s in all.\n' "$(seconds_since "$started")"
