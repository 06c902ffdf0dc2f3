#!/bin/bash
# postgres.sh BENCHFS: a data base on a mount of the ordinary user whom it belongs to: made, used by two clients at
# once, stopped and started, killed and recovered.
set -eu
benchfs=$1

# Root becomes nobody, with a device that all may open, in a mount namespace of its own.
if [[ $(id -u) -eq 0 && -z ${2:-} ]]; then
  room=$(mktemp -d)
  trap 'rm -rf "$room"' EXIT
  chmod 711 "$room"
  mkdir "$room/bin" "$room/dev" "$room/user"
  chown nobody "$room/user"
  # shellcheck disable=SC2016  # the inner shell's
  unshare -m bash -c 'set -eu
    mount -t tmpfs none "$1/dev" && mknod "$1/dev/fuse" c 10 229 && chmod 0666 "$1/dev/fuse"
    mount --bind "$1/dev/fuse" /dev/fuse
    mount --bind "${2%/*}" "$1/bin"
    cd "$1/user"
    exec setpriv --reuid nobody --regid nogroup --clear-groups bash -s "$1/bin/${2##*/}" here' \
    bash "$room" "$benchfs" <"$0"
  exit
fi
if [[ -z ${2:-} ]]; then
  room=$(mktemp -d)
  cd "$room"
fi

bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -n 1)
export HOME=$PWD BENCHFS_REGISTRY_DIR=$PWD/registry PGHOST=$PWD PGDATABASE=postgres
mkdir -m 700 registry m
finish() {
  "$bin/pg_ctl" -D m/data stop -m immediate >log.end 2>&1 || true
  "$benchfs" umount m || true
  "$benchfs" down >log.down || cat log.down
  [[ -z ${room:-} ]] || rm -rf "$room"
}
trap finish EXIT
failed() {
  cat log* >&2
  exit 1
}
start() {
  "$bin/pg_ctl" -D m/data -l log -w -t 100 start >log.ctl \
    -o "-k $PWD -c listen_addresses='' -c shared_buffers=8MB" || failed
}
# expect N: N transactions have happened, and each of them as a whole.
expect() {
  local found
  found=$("$bin/psql" -Atc 'select (select sum(abalance) from pgbench_accounts) =
    (select sum(delta) from pgbench_history), count(*) from pgbench_history')
  [[ $found == "t|$1" ]] || { echo "found $found instead of $1 transactions" >&2 && failed; }
}

"$benchfs" up --engine memory --servers 2 >log.up || failed
"$benchfs" mount m >log.mount || failed
"$bin/initdb" -D m/data -A trust --no-instructions >log.init 2>&1 || failed
start
"$bin/pgbench" -i -s 1 -q >log.bench 2>&1 || failed
"$bin/pgbench" -n -c 2 -t 50 >log.bench 2>&1 || failed
expect 100
"$bin/pg_ctl" -D m/data -w -t 100 restart -m fast >log.ctl || failed
expect 100
"$bin/pgbench" -n -c 1 -t 20 >log.bench 2>&1 || failed
server=$(head -n 1 m/data/postmaster.pid)
# shellcheck disable=SC2046  # one argument a process
kill -9 "$server" $(cat "/proc/$server/task/$server/children")
rm m/data/postmaster.pid .s.PGSQL.*  # the dead may have a number still
start
grep -q 'automatic recovery in progress' log || failed
expect 120
"$bin/pg_ctl" -D m/data -w -t 100 stop -m fast >log.ctl || failed
