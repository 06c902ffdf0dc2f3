#!/bin/bash
# science.sh BENCHFS DOOR RANKS MODULE PROGRAM [ARGUMENT…]: runs an MPI program (RANKS 0: a program without MPI) twice
# with an empty directory as its last argument, in memory and through a door (mount or preload) to a cluster of its
# own, and compares what it prints and how it ends. MODULE is Open MPI's for MPI-IO, ompio or romio321.
set -eu
benchfs=$1 door=$2 ranks=$3 module=$4
shift 4

room=$(mktemp -d)
export BENCHFS_REGISTRY_DIR=$room/registry TMPDIR=$room/tmp
mkdir "$BENCHFS_REGISTRY_DIR" "$room/tmp" "$room/mnt"
memory=$(mktemp -d "$([[ -w /dev/shm ]] && echo /dev/shm || echo /tmp)/benchfs-science-XXXXXX")
finish() {
  if grep -q " $room/mnt " /proc/self/mountinfo; then
    "$benchfs" umount --lazy "$room/mnt" || true
  fi
  "$benchfs" down >"$room/down" 2>&1 || cat "$room/down"
  rm -rf "$room" "$memory"
}
trap finish EXIT
"$benchfs" up --engine memory --servers 2 >"$room/up" 2>&1 || {
  cat "$room/up"
  exit 1
}

launcher=() wrapper=()
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_io=$module
# By itself ompio locks nothing, in atomic mode neither, unless the file system is one that it knows.
export OMPI_MCA_fs_ufs_lock_algorithm=3
if [[ $ranks -gt 0 ]]; then
  launcher=(mpirun --oversubscribe --bind-to none --mca pml ob1 --mca btl "self,vader" -np "$ranks")
fi

# Prints the output with the directory's name taken out, and how the program ended.
run_in() {
  local directory=$1 status=0
  shift
  timeout 120 "${launcher[@]}" "${wrapper[@]}" "$@" "$directory" >"$room/output" 2>&1 </dev/null || status=$?
  sed "s|$directory|DIRECTORY|g" "$room/output"
  echo "status $status"
}

run_in "$memory" "$@" >"$room/expected"
grep -q '^status 0$' "$room/expected" || {
  echo "it fails in memory already"
  cat "$room/expected"
  exit 1
}
case $door in
  mount)
    "$benchfs" mount "$room/mnt" --log "$room/mount.log" >"$room/up"
    directory=$room/mnt/work
    mkdir "$directory"
    ;;
  preload)
    "$benchfs" mkdir bfs:/work
    directory=/bfs/work
    wrapper=("$(dirname "$benchfs")/benchfs-run" --)
    ;;
esac
run_in "$directory" "$@" >"$room/actual"
diff -u --label memory "$room/expected" --label "$door" "$room/actual"
[[ -n $("$benchfs" ls bfs:/work) ]] || {
  echo "nothing was written to the cluster"
  exit 1
}
