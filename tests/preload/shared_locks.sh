#!/bin/bash
# shared_locks.sh BENCHFS: locks of open files that processes share, as scripts use flock(1): taken by a child for the
# shell, kept by whoever still has the descriptor, gone with the last one however its processes end.
# shellcheck disable=SC2016  # for the shells
set -eu
benchfs=$1
# shellcheck source=tests/preload/cluster.sh
. "${0%/*}/cluster.sh"
start_cluster 2
counters=()
fail() {
  echo "${BASH_LINENO[0]}: $1"
  exit 1
}
eventually() {
  local end=$((SECONDS + 20))
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.05
  done
}
run() {
  "$benchfs" run -- "$@"
}
# A process of its own, whose number is in $!, so that it can be killed.
start() {
  "$benchfs" run -- "$@" &
  started+=($!)
}
# Others take the lock without waiting, or do not.
is_free() {
  run flock --nonblock /bfs/lock true
}
is_locked() {
  ! is_free
}
there() {
  eventually test -e "$room/$1"
}
export room
run touch /bfs/lock

# The lock outlasts the program that took it, and ends with the shell.
run bash -c '
  (flock --nonblock 9 || exit 1; flock --nonblock /bfs/lock true && exit 2; exit 0) 9>/bfs/lock' ||
  fail "the block that locks fails: $?"
is_free || fail "the lock outlasts its block"

run bash -c '
  exec 9>/bfs/lock
  flock 9 || exit 1
  flock --nonblock /bfs/lock true && exit 2
  flock 9 || exit 3
  flock --unlock 9 || exit 4
  flock --nonblock /bfs/lock true || exit 5
  flock 9 || exit 6
  (flock --unlock 9)
  flock --nonblock /bfs/lock true || exit 7
  flock 9
  exec 9>&-
  flock --nonblock /bfs/lock true || exit 8' || fail "a lock of the shell: $?"
is_free || fail "the lock outlasts its shell"

# Shared locks of several open files.
run bash -c '
  exec 8</bfs/lock 9</bfs/lock
  flock --shared 8 && flock --nonblock --shared 9 || exit 1
  flock --nonblock --exclusive 9 && exit 2
  flock --unlock 8
  flock --nonblock --exclusive 9 || exit 3' || fail "shared locks: $?"

# Who waits can be interrupted, and gets the lock when it ends.
start bash -c 'exec 9>/bfs/lock; flock 9; touch "$room/held"; read -r <"$room/fifo"; exit 0'
mkfifo "$room/fifo"
holder=$!
there held || fail "no lock"
is_locked || fail "a lock for others, too"
status=0
run bash -c 'exec 9>/bfs/lock; timeout 1 flock 9' || status=$?
((status == 124)) || fail "a wait ends with $status"
run bash -c 'exec 9>/bfs/lock; flock --timeout 0.2 9' && fail "locked twice"
is_locked || fail "a wait that was interrupted ended the lock"
start bash -c 'exec 9>/bfs/lock; flock 9; touch "$room/second"'
kill -KILL "$holder"
there second || fail "the lock of a killed shell stays"
eventually is_free || fail "the next one stays, too"

# A child keeps the lock of a parent that has ended, or was killed; also one that was there before, and was forked
# but has executed nothing.
for kind in exec fork; do
  for end in exit kill; do
    rm -f "$room/child" "$room/parent"
    start bash -c '
      exec 9>/bfs/lock
      flock 9
      if [[ $1 == exec ]]; then
        sleep 100 &
        echo $! >"$room/child.new"
      else
        (while [[ -e $room && ! -e $room/stop ]]; do read -r -t 0.1 <>"$room/fifo" || true; done) &
        echo $! >"$room/child.new"
      fi
      disown -a
      mv "$room/child.new" "$room/child"
      [[ $2 == exit ]] || kill -KILL $$' - "$kind" "$end"
    parent=$!
    there child || fail "no child"
    wait "$parent" 2>/dev/null || true
    child=$(<"$room/child")
    started+=("$child")
    is_locked || fail "$kind, $end: the child has lost the lock"
    sleep 1.5 # longer than the servers look for processes that have ended
    is_locked || fail "$kind, $end: the child has lost the lock after a while"
    kill -KILL "$child"
    eventually is_free || fail "$kind, $end: the lock of a killed child stays"
  done
done

# Also of a parent that ends, or closes its descriptor, at once.
for how in exit close; do
  for _ in 1 2 3 4 5; do
    rm -f "$room/stop" "$room/closed"
    start bash -c '
      exec 9>/bfs/lock
      flock 9
      (while [[ -e $room && ! -e $room/stop ]]; do read -r -t 0.1 <>"$room/fifo" || true; done) &
      if [[ $1 == close ]]; then
        exec 9>&-
        : >"$room/closed"
        wait
      fi' - "$how"
    if [[ $how == close ]]; then
      there closed
    else
      wait $!
    fi
    is_locked || fail "$how: a child that was just forked has lost the lock"
    touch "$room/stop"
    eventually is_free || fail "$how: the lock stays"
  done
done

# A program that a process becomes keeps what it has inherited.
run bash -c '
  exec 9>/bfs/lock
  flock 9
  exec bash -c "flock --nonblock /bfs/lock true && exit 1; exit 0"' || fail "exec ends a lock"
is_free || fail "the lock stays after exec"

# What a program does not hand on ends with its own descriptor.
if command -v python3 >/dev/null; then
  run python3 -c '
import fcntl, os, subprocess, sys
fd = os.open("/bfs/lock", os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
child = subprocess.Popen(["sleep", "100"])
print(child.pid, file=open(os.environ["room"] + "/sleeper", "w"))
os.close(fd)
fd = os.open("/bfs/lock", os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.close(fd)' || fail "a lock stays with a program that has not inherited it"
  started+=("$(<"$room/sleeper")")

  # Locks of ranges, by a child and by fork alone.
  run python3 -c '
import fcntl, os, struct
F_OFD_SETLK = 37
def lock(fd, kind, start, length):
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqixxxx", kind, os.SEEK_SET, start, length, 0))
def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
fd = os.open("/bfs/lock", os.O_RDWR)
other = os.open("/bfs/lock", os.O_RDWR)
assert in_child(lambda: lock(fd, fcntl.F_WRLCK, 0, 10)) == 0
lock(fd, fcntl.F_WRLCK, 5, 10)
lock(other, fcntl.F_WRLCK, 15, 5)
assert in_child(lambda: lock(other, fcntl.F_WRLCK, 12, 5)) == 11
assert in_child(lambda: lock(fd, fcntl.F_UNLCK, 0, 0)) == 0
lock(other, fcntl.F_WRLCK, 0, 0)' || fail "locks of ranges"
fi

# Two shells on different clients take turns.
run bash -c 'echo 0 >/bfs/count'
for _ in 1 2 3 4; do
  start bash -c '
    for i in {1..10}; do
      (
        flock 9
        read -r count </bfs/count
        echo $((count + 1)) >/bfs/count
      ) 9>/bfs/lock
    done'
  counters+=($!)
done
wait "${counters[@]}"
[[ $(run cat /bfs/count) == 40 ]] || fail "two held the lock: $(run cat /bfs/count)"
