#!/usr/bin/env bash
# Installs the Debian 12 packages that BenchFS needs. Does nothing, quickly, when they are all there.
#
#   tools/install-deps.sh [GROUP…]           install (groups: demo build test bench ior; default: all but ior)
#   tools/install-deps.sh --check [GROUP…]   only say what is missing; exit 1 if anything is
#   tools/install-deps.sh --list [GROUP…]    print group, package and reason
#
# demo is what ./run demo needs to build and run benchfs and benchfsd; build includes it.
set -euo pipefail

# group  package               why
readonly TABLE='
build    ca-certificates       fetching packages and sources over https
build    git                   the history, and the version of a build
demo     cmake                 build system (3.25)
demo     ninja-build           runs the build; the CMake presets select it
demo     ccache                repeated builds are nearly free; used if present
demo     pkg-config            finds liburing and xxhash
demo     clang-19              the compiler; g++ 12 miscompiles coroutines
demo     lld-19                linker of the presets, several times faster than ld
demo     libucx-dev            UCX: the network, from shared memory to InfiniBand
demo     liburing-dev          io_uring: files and wake-ups of the daemon
demo     libfmt-dev            text formatting; libstdc++ 12 has no <format>
demo     libfuse3-dev          the mount: benchfs mount
demo     libxxhash-dev         XXH3: placement and checksums
demo     libsodium-dev         random bytes and MAC: the proof of the cluster secret
demo     libboost-dev          Boost.Intrusive only: lists without allocation
demo     robin-map-dev         hash maps on the data path
demo     libcli11-dev          command lines of the programs
demo     libtomlplusplus-dev   the configuration file
demo     nlohmann-json3-dev    reading JSON in tools and tests
demo     python3               the table at the end of the demo, and the lint in tools/lint
build    libopenmpi-dev        MPI: benchfsd_mpi and benchfs_rpc_bench; without it they are left out
test     libgtest-dev          unit tests
test     libclang-rt-19-dev    run-time part of the sanitizers and of libFuzzer
test     llvm-19               llvm-symbolizer: function names in sanitizer reports
test     clang-tidy-19         static checks
test     clang-format-19       layout of the source
test     fuse3                 fusermount3: the mount for ordinary users
test     sqlite3               a data base on the mount
test     rsync                 copies onto the mount, and what it finds changed
test     fio                   what is written to the mount with four ways of I/O, verified
test     stress-ng             stressors of file systems on the mount
test     python3-venv          a virtual environment on the mount
test     vim-tiny              an editor on the mount and the preload library
test     postgresql-15         a data base on the mount
test     openmpi-bin           mpirun: the tests of the MPI programs
test     libhdf5-openmpi-dev   parallel HDF5: its tests on the mount and the preload library
test     libpnetcdf-dev        PnetCDF: the same
test     python3-h5py          h5py: the same
test     python3-h5py-mpi      h5py with MPI
test     python3-mpi4py        MPI for h5py
test     shellcheck            faults in the shell scripts
test     iproute2              ip: networks of their own for the failure tests
test     nftables              nft: cuts, loss and resets in those networks
test     chromium              opens the report of a benchmark, as a reader does (120 MB)
bench    libbenchmark-dev      micro benchmarks
bench    ucx-utils             ucx_perftest: what the network can do without us
ior      autoconf              ./run test-ior --ior: the configure script of IOR
ior      automake              ./run test-ior --ior: the makefiles of IOR
'

usage() {
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
}

# Prints the table rows of the wanted groups.
rows() {
  local group package reason
  while read -r group package reason; do
    if [[ -n $group && " $groups " == *" $group "* ]]; then
      printf '%-6s %-20s %s\n' "$group" "$package" "$reason"
    fi
  done <<<"$TABLE"
}

# Prints the wanted packages that are not installed.
missing() {
  local wanted installed
  wanted=$(rows | awk '{print $2}' | sort)
  # shellcheck disable=SC2086  # one argument a package
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $wanted 2>/dev/null |
    awk '$1 == "ii" {print $2}' | sort -u || true)
  comm -23 <(echo "$wanted") <(echo "$installed")
}

as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "install-deps: packages are missing; run this as root, or install sudo" >&2
    exit 1
  fi
}

# Runs apt-get; shows how far it is, and all of its output if it fails.
apt() {
  local log
  log=$(mktemp)
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" 2>&1 | tee "$log" | show_progress; then
    cat "$log" >&2
    rm -f "$log"
    echo "install-deps: failed: apt-get $*" >&2
    exit 1
  fi
  rm -f "$log"
}

# From the output of apt-get: the size of the download, and every tenth package set up.
show_progress() {
  awk '
    / newly installed/ { total = $3 }
    /^Need to get/ { sub(/^Need to get /, ""); sub(/ of archives.*/, ""); print "  downloading " $0 }
    /^Setting up/ { if (++done % 10 == 0 || done == total) print "  installed " done " of " total }
    { fflush() }'
}

mode=install
groups=
for argument in "$@"; do
  case $argument in
    --list) mode=list ;;
    --check) mode=check ;;
    -h | --help) usage; exit 0 ;;
    build) groups+=" demo build" ;;
    demo | test | bench | ior) groups+=" $argument" ;;
    *) echo "install-deps: unknown argument '$argument'" >&2; usage >&2; exit 2 ;;
  esac
done
groups=${groups:-demo build test bench}

if [[ $mode == list ]]; then
  rows
  exit 0
fi
if ! command -v dpkg-query >/dev/null; then
  echo "install-deps: this is not a Debian system; the list of packages: $0 --list" >&2
  exit 1
fi
mapfile -t packages < <(missing)
if [[ ${#packages[@]} -eq 0 ]]; then
  exit 0
fi
echo "missing packages: ${packages[*]}"
if [[ $mode == check ]]; then
  exit 1
fi
# Debian starts a data base as soon as there is one to serve; the tests make their own.
if [[ " ${packages[*]} " == *" postgresql-15 "* && ! -e /etc/postgresql-common ]]; then
  as_root mkdir -p /etc/postgresql-common/createcluster.d
  echo 'create_main_cluster = false' |
    as_root tee /etc/postgresql-common/createcluster.d/benchfs.conf >/dev/null
fi
echo "reading the package lists"
apt update -q
apt install -q -y --no-install-recommends "${packages[@]}"
echo "installed ${#packages[@]} packages"
