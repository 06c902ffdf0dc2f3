#!/bin/bash
# refused.sh BENCHFS: what cannot be served fails with a clear errno value, and is in the report.
set -eu
benchfs=$1
# shellcheck source=tests/preload/cluster.sh
. "${0%/*}/cluster.sh"
start_cluster 1
cat >"$room/program.py" <<'END'
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments):
    result = getattr(libc, function)(*arguments)
    print(function, errno.errorcode[ctypes.get_errno() if result < 0 else result])
os.mkdir('/bfs/d')
call('mkfifo', b'/bfs/d/fifo', 0o644)
watcher = libc.inotify_init()
call('inotify_add_watch', watcher, b'/bfs/d', 0xfff)
os.chdir('/bfs/d')
call('inotify_add_watch', watcher, b'.', 0xfff)
actions = ctypes.create_string_buffer(256)
libc.posix_spawn_file_actions_init(actions)
call('posix_spawn_file_actions_addchdir_np', actions, b'/bfs/d')
if os.uname().machine == 'x86_64':
    call('syscall', 217, os.open('.', os.O_RDONLY), actions, 256)
else:
    print('syscall ENOSYS')
file = os.open('/bfs/d/mapped', os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 8192)
libc.mmap.restype = ctypes.c_void_p
libc.syscall.restype = ctypes.c_long
memory = libc.mmap(None, 8192, 3, 1, file, ctypes.c_long(0))
SYS_mremap = 25 if os.uname().machine == 'x86_64' else 216
MREMAP_MAYMOVE = 1
call('syscall', SYS_mremap, ctypes.c_void_p(memory), 8192, 16384, MREMAP_MAYMOVE)
END
BENCHFS_REPORT=1 "$benchfs" run -- python3 "$room/program.py" >"$room/output" 2>"$room/report"
diff -u - "$room/output" <<'END'
mkfifo EPERM
inotify_add_watch ENOTSUP
inotify_add_watch ENOTSUP
posix_spawn_file_actions_addchdir_np ENOTSUP
syscall ENOSYS
syscall ENOMEM
END
for line in 'mkfifo .* refused 1: EPERM' 'inotify_add_watch .* refused 2: EOPNOTSUPP'; do
  grep -q "^$line" "$room/report" || {
    echo "not in the report: $line"
    cat "$room/report"
    exit 1
  }
done
