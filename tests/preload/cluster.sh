# A cluster for a script of this directory, which sources it with `benchfs` set. Both go when the script ends.
# shellcheck shell=bash disable=SC2154  # benchfs
room=$(mktemp -d)
export BENCHFS_REGISTRY_DIR=$room/registry
mkdir "$BENCHFS_REGISTRY_DIR"
started=() # processes that are killed at the end
finish() {
  ((${#started[@]} == 0)) || kill -KILL "${started[@]}" 2>/dev/null || true
  "$benchfs" down >"$room/down" 2>&1 || cat "$room/down"
  rm -rf "$room"
}
trap finish EXIT
# start_cluster SERVERS
start_cluster() {
  "$benchfs" up --engine memory --servers "$1" >"$room/up" 2>&1 || {
    cat "$room/up"
    exit 1
  }
}
