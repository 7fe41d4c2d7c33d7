# shellcheck shell=bash
# For the scripts beside this one: installing what is missing on Debian, and saying what goes on.

phase() { printf '\n==> %s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}
# For parsing options: the one in front has a number behind it.
need_number() { # OPTION NUMBER...
    [[ ${2-} =~ ^[0-9]{1,9}$ ]] || die "$1 needs a number; see tools/${0##*/} --help" 2
}

# What it takes to build and to run the unit tests.
# shellcheck disable=SC2034 # the scripts that source this use it
build_packages=(build-essential cmake ninja-build pkg-config libnng-dev libxxhash-dev libedit-dev
    libmsgpack-dev check)
# What the system tests and the checks of the sources take besides.
# shellcheck disable=SC2034
test_packages=(python3 python3-msgpack python3-xxhash nng-utils iproute2 nftables libnanomsg-dev clang-format
    clang-tidy shellcheck util-linux valgrind strace)

# What tools/fuzz takes besides what it takes to build.
# shellcheck disable=SC2034
fuzz_packages=(clang)

# Other storage engines, for shardcask-engine-bench to measure beside ours. Nothing else takes them.
# shellcheck disable=SC2034
contender_packages=(librocksdb-dev libleveldb-dev liblmdb-dev)

# Which of the packages are not installed.
missing_packages() {
    local name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
    done
}

# Installs those of the packages that are missing; does nothing, and needs no rights, when none is.
install_packages() {
    local -a missing=() as_root=()
    command -v dpkg-query >/dev/null ||
        die "this is not Debian: install by hand what corresponds to: $*"
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]} > 0)) || return 0
    phase "Installing ${missing[*]}"
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "these packages are missing and only root can install them: ${missing[*]}"
        as_root=(sudo)
    fi
    export DEBIAN_FRONTEND=noninteractive
    if ! "${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"; then
        # The lists of a fresh system are empty or old.
        "${as_root[@]}" apt-get update
        "${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}" ||
            die "apt-get could not install: ${missing[*]}"
    fi
}

# Configures and builds one preset; further arguments are targets.
build_preset() { # PRESET [TARGET...]
    local preset=$1
    shift
    local -a options=() targets=()
    if command -v ccache >/dev/null; then options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache); fi
    cmake --preset "$preset" "${options[@]}" >/dev/null || die "cmake --preset $preset failed"
    (($# == 0)) || targets=(--target "$@")
    cmake --build --preset "$preset" "${targets[@]}" -- --quiet || die "the $preset build failed"
}
