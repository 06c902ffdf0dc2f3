#!/bin/bash
# down.sh BENCHFS: programs below the prefix of a cluster that is down end in time, and say why.
set -u
benchfs=$1
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
export BENCHFS_REGISTRY_DIR=$room/registry
mkdir "$BENCHFS_REGISTRY_DIR"

failed=0
expect() {
  if ! eval "$2"; then
    echo "not so: $1"
    failed=1
  fi
}
timeout 20 "$benchfs" run -- cat /bfs/file 2>"$room/error"
status=$?
cat "$room/error"
expect "cat fails and is not stopped" "[ $status -eq 1 ]"
expect "the reason is given" "grep -q '^benchfs: no cluster: .*server list' '$room/error'"
expect "cat hears ENOTCONN" "grep -q 'not connected' '$room/error'"
timeout 20 "$benchfs" run -- bash -c 'echo x > /bfs/file; echo "still here $?"' >"$room/output" 2>"$room/error"
expect "bash goes on" "grep -q 'still here 1' '$room/output'"
timeout 20 "$benchfs" run -- cat /dev/null
expect "programs that do not use the prefix do not need the cluster" "[ $? -eq 0 ]"
timeout 20 "$benchfs" run --mount /etc -- true 2>"$room/error"
expect "a prefix with files below it is refused" "[ $? -eq 1 ] && grep -q 'files below the prefix' '$room/error'"
timeout 20 "$benchfs" run -- "$room/none" 2>/dev/null
expect "a program that is not there" "[ $? -eq 127 ]"
mkdir "$room/gone"
(cd "$room/gone" && rmdir "$room/gone" && timeout 20 "$benchfs" --registry-dir registry run -- true) 2>/dev/null
expect "a working directory that was removed" "[ $? -eq 0 ]"

launcher=$(dirname "$benchfs")/benchfs-run
timeout 20 "$launcher" -- env >"$room/output"
expect "the launcher sets the prefix" "grep -q '^BENCHFS_MOUNT=/bfs$' '$room/output'"
expect "and the cluster" "grep -q '^BENCHFS_REGISTRY_DIR=$room/registry$' '$room/output'"
timeout 20 "$launcher" --mount /a/../b -- true 2>/dev/null
expect "and refuses what is no prefix" "[ $? -eq 2 ]"

"$benchfs" check /bin/cat >"$room/output"
expect "cat can be used" "[ $? -eq 0 ] && grep -q 'everything' '$room/output'"
printf '\177ELF\001' >"$room/short"
"$benchfs" check "$room/short" >"$room/output"
expect "a 32-bit program cannot" "[ $? -eq 1 ] && grep -q '32-bit' '$room/output'"
echo text >"$room/text"
"$benchfs" check "$room/text" 2>"$room/error"
expect "a text is no program" "[ $? -eq 1 ] && grep -q 'neither a program nor a script' '$room/error'"
BENCHFS_REPORT=1 timeout 20 "$benchfs" run -- cat /bfs/file 2>"$room/error"
expect "the report has the calls" "grep -q '^benchfs report of process' '$room/error' && grep -Eq '^open +1 ' '$room/error'"

# The servers die during a run.
rm -rf "$BENCHFS_REGISTRY_DIR"
"$benchfs" up --servers 2 --engine memory >/dev/null || exit 1
trap '"$benchfs" down >/dev/null 2>&1; rm -rf "$room"' EXIT
mkfifo "$room/go"
# shellcheck disable=SC2016
timeout 60 "$benchfs" run -- bash -c '
  for i in 1 2 3 4; do echo text >"/bfs/file$i"; done
  exec 3>"$1/own" 4>>/bfs/file1
  echo mine >&3
  echo ready >"$1/go"
  read -r _ <"$1/go"
  for i in 1 2 3 4; do cat "/bfs/file$i"; echo more >&4; done
  echo end >&3' bash "$room" 2>"$room/error" &
program=$!
read -r _ <"$room/go"
mapfile -t pids < <("$benchfs" status | awk 'NR > 1 {print $3}')
expect "status names the servers" "[ ${#pids[@]} -eq 2 ]"
kill -9 "${pids[@]}"
echo go >"$room/go"
wait $program
expect "a shell goes on without its servers" "[ $? -eq 0 ]"
expect "what it does below the prefix is EIO" "grep -q 'Input/output error' '$room/error'"
expect "its own file has what it wrote" "[ \"$(cat "$room/own")\" = \"$(printf 'mine\nend')\" ]"
exit $failed
