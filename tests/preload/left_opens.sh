#!/bin/bash
# left_opens.sh BENCHFS: a file without a name whose opener closes it lives on while a process that has inherited it
# has it, and ends with the last one.
set -eu
benchfs=$1
# shellcheck source=tests/preload/cluster.sh
. "${0%/*}/cluster.sh"
start_cluster 2
export room
mkfifo "$room/fifo"
"$benchfs" run -- timeout 100 python3 - <<'END'
import fcntl, os, sys, time

room = os.environ["room"]
nowhere = os.open("/dev/null", os.O_WRONLY)
use = 'read -r go <&8; echo hi >&9 && exec 9<>/proc/self/fd/9 && read -r line <&9 && test "$line" = hi'

# Beyond the numbers that are used below.
def pipe():
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends]
    for end in ends:
        os.close(end)
    return high

def unnamed():
    fd = os.open("/bfs/file", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.unlink("/bfs/file")
    if fd != 9:
        os.dup2(fd, 9)
        os.close(fd)
    os.set_inheritable(9, True)

def inodes():
    info = os.statvfs("/bfs")
    return info.f_files - info.f_ffree

def ended(child, what):
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        sys.exit(f"{what}: {status}")

def forked(work):
    child = os.fork()
    if child == 0:
        os.dup2(go, 8)
        os.close(tell)
        work()
    return child

def use_here():
    os.read(8, 1)
    try:
        os.write(9, b"hi\n")
        os._exit(0 if os.pread(9, 3, 0) == b"hi\n" else 2)
    except OSError as error:
        os._exit(error.errno)

def grandchild():
    child = os.fork()
    if child == 0:
        use_here()
    os.close(9)
    ended(child, "grandchild")
    os._exit(0)

# The dynamic linker does not get any further before somebody opens the pipe: the program has the file without
# having seen that it has.
def executed_late():
    os.dup2(nowhere, 2)
    os.execve("/bin/sh", ["sh", "-c", use], os.environ | {"LD_PRELOAD": room + "/fifo"})

def spawned():
    return os.posix_spawn("/bin/sh", ["sh", "-c", use], os.environ | {"LD_PRELOAD": room + "/fifo"},
                          file_actions=[(os.POSIX_SPAWN_DUP2, go, 8), (os.POSIX_SPAWN_DUP2, nowhere, 2)])

def wait_until_executed(child):
    while not os.readlink(f"/proc/{child}/exe").endswith("sh"):
        time.sleep(0.01)

def let_start():
    os.close(os.open(room + "/fifo", os.O_WRONLY))

for what, start, is_late in [
    ("fork", lambda: forked(use_here), False),
    ("fork twice", lambda: forked(grandchild), False),
    ("exec", lambda: forked(lambda: os.execl("/bin/sh", "sh", "-c", use)), False),
    ("exec that is late", lambda: forked(executed_late), True),
    ("posix_spawn", spawned, True),
]:
    go, tell = pipe()
    unnamed()
    child = start()
    if is_late:
        wait_until_executed(child)
    os.close(9)
    if is_late:
        let_start()
    os.write(tell, b"\n" * 3)
    os.close(tell)
    os.close(go)
    ended(child, what)

# What nobody has used ends with the last process that has it.
for what, start in [("exit", lambda: forked(lambda: (os.read(8, 1), os._exit(0)))),
                    ("close", lambda: forked(lambda: (os.close(9), os.read(8, 2), os._exit(0))))]:
    before = inodes()
    go, tell = pipe()
    unnamed()
    child = start()
    os.close(9)
    if what == "exit" and inodes() != before + 1:
        sys.exit("the file ends before its child")
    os.write(tell, b"\n")
    end = time.monotonic() + 20
    while inodes() != before:
        if time.monotonic() > end:
            sys.exit(f"{what}: the file stays")
        os.close(os.open("/bfs", os.O_RDONLY))
        time.sleep(0.02)
    os.write(tell, b"\n")
    ended(child, what)
END
# shellcheck disable=SC2016  # for the shells
"$benchfs" run -- bash -c '
  exec 3<>/bfs/shell
  rm /bfs/shell
  mkfifo "$room/go"
  (read -r go <"$room/go"; echo hi >&3 && cat /proc/self/fd/3 >"$room/shell") &
  exec 3>&-
  echo go >"$room/go"
  wait $!' || {
  echo "a background job has lost its file"
  exit 1
}
[[ $(<"$room/shell") == hi ]]
