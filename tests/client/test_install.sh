#!/bin/sh
# Installs into a temporary prefix and builds against what is there: with pkg-config and with CMake,
# shared and static, in C and in C++. Also looks at what the shared library shows.
#
# usage: test_install.sh SOURCE BUILD
set -eu
source=$1
build=$2
prefix=$(mktemp -d "${TMPDIR:-/tmp}/sc-install-XXXXXX")
trap 'rm -rf "$prefix"' EXIT

say() { printf '== %s\n' "$*"; }

say "install"
cmake --install "$build" --prefix "$prefix" >"$prefix/log" || { cat "$prefix/log"; exit 1; }
pc=$(dirname "$(find "$prefix" -name shardcask.pc)")
lib=$(dirname "$pc")
export PKG_CONFIG_PATH="$pc" LD_LIBRARY_PATH="$lib"
example="$source/client/examples/first.c"

# Each program must at least start, and say that nobody is there.
runs() {
    output=$("$@" nonsense 2>&1) && { echo "$1 should fail"; exit 1; }
    case $output in
    *nonsense*) ;;
    *) echo "$1 said: $output"; exit 1 ;;
    esac
}

say "the shared library shows shardcask_* only"
strange=$(nm -D --defined-only "$lib/libshardcask.so" | awk '{print $3}' | grep -v '^shardcask_' || :)
[ -z "$strange" ] || { echo "$strange"; exit 1; }
declared=$(grep -o 'shardcask_[a-z_]*(' "$prefix/include/shardcask.h" | tr -d '(' | sort -u)
for name in $declared; do
    nm -D --defined-only "$lib/libshardcask.so" | grep -q " $name\$" ||
        { grep -q "SHARDCASK_API.*$name(" "$prefix/include/shardcask.h" || continue
          echo "$name is declared but not there"; exit 1; }
done

say "pkg-config, shared"
# shellcheck disable=SC2046
cc -Wall -Wextra -Wpedantic -Werror "$example" -o "$prefix/shared" \
    $(pkg-config --cflags --libs shardcask)
runs "$prefix/shared"

say "pkg-config, static"
# shellcheck disable=SC2046
cc -Wall -Wextra -Werror "$example" -o "$prefix/static" $(pkg-config --cflags shardcask) \
    "$lib/libshardcask.a" $(pkg-config --static --libs-only-l shardcask | sed 's/-lshardcask//')
LD_LIBRARY_PATH='' runs "$prefix/static"

say "C++11"
# shellcheck disable=SC2046
c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror "$source/tests/client/header_in_cpp.cpp" \
    -o "$prefix/cpp" $(pkg-config --cflags --libs shardcask)
"$prefix/cpp"

say "find_package"
mkdir "$prefix/project"
cat >"$prefix/project/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(shardcask REQUIRED)
add_executable(with_shared $example)
target_link_libraries(with_shared PRIVATE shardcask::shardcask)
add_executable(with_static $example)
target_link_libraries(with_static PRIVATE shardcask::shardcask_static)
END
{ cmake -S "$prefix/project" -B "$prefix/project/build" -DCMAKE_PREFIX_PATH="$prefix" &&
    cmake --build "$prefix/project/build"; } >"$prefix/log" 2>&1 || { cat "$prefix/log"; exit 1; }
runs "$prefix/project/build/with_shared"
LD_LIBRARY_PATH='' runs "$prefix/project/build/with_static"
say "done"
