#!/usr/bin/env bash
# Installs a build into a directory of its own, builds a program against it with pkg-config and with
# CMake, and runs both against a cluster.
#
#   install_test.sh BUILD_DIRECTORY SOURCE_DIRECTORY C_COMPILER WITH_CLUSTER [FLAGS]
set -euo pipefail

readonly build=$1 source=$2 compiler=$3 with_cluster=$4 flags=${5:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
readonly prefix=$scratch/prefix

cmake --install "$build" --prefix "$prefix" >"$scratch/install.log"
lib=$(dirname "$(find "$prefix" -name libbenchfs.so)")
export LD_LIBRARY_PATH=$lib PKG_CONFIG_PATH=$lib/pkgconfig

for installed in include/benchfs/benchfs.h bin/benchfs bin/benchfs-cli bin/benchfsd; do
  [[ -f $prefix/$installed ]] || { echo "not installed: $installed"; exit 1; }
done
readelf -d "$lib/libbenchfs.so" | grep -q 'SONAME.*\[libbenchfs.so.0\]' ||
  { echo "wrong SONAME"; exit 1; }
if leaked=$(nm -D --defined-only --format=posix "$lib/libbenchfs.so" |
  grep -v -e '^benchfs_' -e '^BENCHFS_0'); then
  echo "exported beside the API:"; echo "$leaked"; exit 1
fi

# What it loads takes every program that uses it time to start. Sanitizers want to see libstdc++.
if [[ $flags != *sanitize* ]] &&
  needed=$(readelf -d "$lib/libbenchfs.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -v -e '^libc\.' -e '^libm\.' -e '^libgcc_s\.' -e '^ld-linux'); then
  echo "needed beside the system's libraries: $needed"; exit 1
fi
if nm --defined-only "$lib/libbenchfs.so" | grep -q _ZNSt6locale; then
  echo "libstdc++'s locales are inside (docs/adr/0083-pages-of-a-short-program.md)"; exit 1
fi

# The header alone, as strict C11 and as C++.
strict="-Wall -Wextra -Wpedantic -Werror"
# shellcheck disable=SC2046,SC2086  # lists of flags
"$compiler" -std=c11 -D_GNU_SOURCE $strict $flags "$source/consumer/consumer.c" \
  $(pkg-config --cflags --libs benchfs) -o "$scratch/with_pkg_config"
"$with_cluster" "$scratch/with_pkg_config"
printf '#include <benchfs/benchfs.h>\n' >"$scratch/header.cc"
# shellcheck disable=SC2046,SC2086
"$compiler" -x c++ -std=c++17 $strict $(pkg-config --cflags benchfs) -fsyntax-only \
  "$scratch/header.cc"

cmake -S "$source/consumer" -B "$scratch/build" -G Ninja -DCMAKE_C_COMPILER="$compiler" \
  -DCMAKE_C_FLAGS="$flags" -DCMAKE_PREFIX_PATH="$prefix" >"$scratch/cmake.log"
cmake --build "$scratch/build" >"$scratch/build.log" ||
  { cat "$scratch/build.log"; exit 1; }
"$with_cluster" "$scratch/build/consumer"
