#!/bin/bash
# shared_mapping.sh BENCHFS: a file that one process has locked and mapped shared is mapped by no other, which would
# not see what is written. The index of sqlite3's write-ahead log is one.
set -eu
benchfs=$1
# shellcheck source=tests/preload/cluster.sh
. "${0%/*}/cluster.sh"
start_cluster 1
fail() {
  echo "$1"
  exit 1
}
sql() {
  "$benchfs" run -- sqlite3 /bfs/data.db "$@" 2>&1
}

coproc FIRST { "$benchfs" run -- sqlite3 /bfs/data.db 2>&1; }
say() {
  echo "$1; select 'end';" >&"${FIRST[1]}"
  while read -r line <&"${FIRST[0]}" && [[ $line != end ]]; do
    echo "$line"
  done
}
[[ $(say 'pragma journal_mode = wal') == wal ]] || fail "no write-ahead log"
say 'create table numbers (value integer)'
say 'insert into numbers values (1)'
if answer=$(sql 'insert into numbers values (2)'); then
  fail "a second process works beside the first: $answer"
fi
say 'insert into numbers values (3)'
echo .quit >&"${FIRST[1]}"
wait
[[ $(sql 'select group_concat(value) from numbers') == 1,3 ]] || fail "$(sql 'select * from numbers')"
sql 'insert into numbers values (4)'
[[ $(sql 'select group_concat(value) from numbers') == 1,3,4 ]] || fail "$(sql 'select * from numbers')"
