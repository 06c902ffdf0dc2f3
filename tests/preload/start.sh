#!/bin/bash
# start.sh BENCHFS: what `benchfs run` does by itself, without the large program beside it, and what it leaves to that.
set -u
benchfs=$1
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
failures=0
fail() {
  echo "$1"
  failures=$((failures + 1))
}
# An installation without benchfs-cli.
mkdir "$room/bin"
cp "$benchfs" "$room/bin/benchfs"
ln -s "$(dirname "$benchfs")/../lib" "$room/lib"
alone=$room/bin/benchfs

# shellcheck disable=SC2016  # for the program
show='echo "$BENCHFS_MOUNT|$BENCHFS_REGISTRY_DIR|$LD_PRELOAD|$1"; exit 7'
run() {
  env -i PATH="$PATH" BENCHFS_REGISTRY_DIR="$room/registry" "$@"
}
expect() {
  local wanted=$1 status=0 got
  shift
  got=$(run "$@" 2>&1) || status=$?
  [[ $got == "$wanted" && $status == 7 ]] || fail "$*: \"$got\" and $status instead of \"$wanted\" and 7"
}
library=$room/lib/libbenchfs_preload.so
expect "/bfs|$room/registry|$library|x y" "$alone" run -- sh -c "$show" sh "x y"
expect "/scratch/job|/reg|$library|" "$alone" run --mount /scratch/job --registry-dir /reg -- sh -c "$show" sh
expect "/scratch/job|/reg|$library|" "$alone" run --mount /scratch/job// --registry-dir /reg -- sh -c "$show" sh
cd "$room" || exit 1
expect "/bfs|$room/here|$library|" "$alone" run --registry-dir here -- "$(command -v sh)" -c "$show" sh
expect "/bfs|/tmp/benchfs-$(id -u)|$library|" env -u BENCHFS_REGISTRY_DIR "$alone" run -- sh -c "$show" sh
expect "/bfs|/run/me/benchfs|$library|" \
  env -u BENCHFS_REGISTRY_DIR XDG_RUNTIME_DIR=/run/me "$alone" run -- sh -c "$show" sh
expect "/bfs|$room/registry|$library:libm.so.6|" env LD_PRELOAD=libm.so.6 "$alone" run -- sh -c "$show" sh

# A program that changes what the library needs: the next one gets it all the same, once, and no more.
expect "/bfs|$room/registry|$library|" "$alone" run -- sh -c "exec sh -c '$show' sh"
expect "/bfs|$room/registry|$library|" \
  "$alone" run -- sh -c "BENCHFS_MOUNT=/other BENCHFS_REGISTRY_DIR=/other exec sh -c '$show' sh"
expect "/bfs|$room/registry|$library|" "$alone" run -- sh -c "unset BENCHFS_MOUNT LD_PRELOAD; exec sh -c '$show' sh"
expect "/bfs|$room/registry|$library:libm.so.6|" "$alone" run -- sh -c "LD_PRELOAD=libm.so.6 exec sh -c '$show' sh"
# shellcheck disable=SC2016  # for the program
expect none "$alone" run -- sh -c 'BENCHFS_CWD=/below exec sh -c "echo \${BENCHFS_CWD-none}; exit 7"'

# Everything of which there is something to say, or that is not understood.
printf '#!/bin/sh\n' >"$room/script"
printf 'text\n' >"$room/text"
head -c 100 /bin/true >"$room/cut"
chmod +x "$room"/{script,text,cut}
leaves() {
  local got
  got=$(run "$alone" "$@" 2>&1) && fail "$*: succeeded"
  [[ $got == "benchfs: benchfs-cli, which belongs beside it: No such file or directory" ]] || fail "$*: $got"
}
leaves
leaves --version
leaves run
leaves run --help
leaves run true
leaves run --
leaves run --unknown -- true
leaves run --mount /bfs/../x -- true
leaves run --mount / -- true
leaves run --mount "$room" -- true
leaves run -- /no/such/program
leaves run -- no-such-program
leaves run -- "$room/script"
leaves run -- "$room/text"
leaves run -- "$room/cut"
leaves run -- /sbin/ldconfig --version
cp /bin/true "$room/not-executable"
chmod a-x "$room/not-executable"
leaves run -- "$room/not-executable"
cp /bin/true "$room/setuid"
chmod u+s "$room/setuid"
leaves run -- "$room/setuid"

# And that does it.
# shellcheck disable=SC2016  # for the program
printf '#!/bin/sh\necho "$BENCHFS_MOUNT"\n' >"$room/shows"
chmod +x "$room/shows"
got=$(run "$benchfs" run --mount /scratch/job/ -- "$room/shows" 2>&1)
[[ $got == /scratch/job ]] || fail "a prefix with a slash behind it: $got"
got=$(run "$benchfs" run -- /sbin/ldconfig --version 2>&1)
[[ $got == *"statically linked"* ]] || fail "no warning of a static program: $got"
got=$(run "$benchfs" run -- /no/such/program 2>&1)
[[ $? == 127 && $got == "benchfs run: /no/such/program: "* ]] || fail "a program that is not there: $got"
exit $((failures > 0))
