# shellcheck shell=bash
# What run.sh and test.sh share: installs the Debian packages that are missing, configures, builds. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build

# shellcheck disable=SC2034  # read by run.sh and test.sh
build_packages=(g++ cmake ninja-build pkg-config libvulkan-dev libvulkan1 libvulkan-volk-dev glslang-tools spirv-tools
  libspirv-cross-c-shared-dev libpcre2-dev libutf8proc-dev libedit-dev nlohmann-json3-dev libcli11-dev libstb-dev doctest-dev)
# shellcheck disable=SC2034
test_packages=(mesa-vulkan-drivers vulkan-validationlayers)

say() { printf 'vkmoe: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# A compiler cache needs a home; without one it may use the build folder.
[[ -w ${HOME:-/nonexistent} ]] || export CCACHE_DIR=${CCACHE_DIR:-$build/ccache}

has_vulkan_driver() {
  [[ -n ${VK_ICD_FILENAMES:-}${VK_DRIVER_FILES:-} ]] || compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null ||
    compgen -G '/usr/local/share/vulkan/icd.d/*.json' >/dev/null || compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

run_logged() { # LOG COMMAND...: silent, but shows the end of the log when the command fails
  local log=$1
  shift
  if ! "$@" >>"$log" 2>&1 </dev/null; then
    tail -n 25 "$log" >&2
    die "failed: $* (the whole log: $log)"
  fi
}

is_installed() { [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) == [ih]i* ]]; }

install_packages() { # the names of Debian packages
  local missing=() package
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    check_tools "$@"
    return
  fi
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  if [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; then
    die "is not root and finds no sudo; as root, run: apt-get install --no-install-recommends ${missing[*]}"
  fi
  say "installs with apt-get: ${missing[*]}"
  mkdir -p "$build"
  : >"$build/setup.log"
  as_root apt-get update -qq >>"$build/setup.log" 2>&1 </dev/null ||
    say "apt-get update failed; goes on with the package lists that are there"
  run_logged "$build/setup.log" as_root apt-get install -y --no-install-recommends "${missing[@]}"
}

# Not Debian: nothing is installed; the compiler and the tools must be there, CMake names a library that is not.
check_tools() {
  local missing=() tool
  for tool in c++ cmake pkg-config glslangValidator spirv-val spirv-opt; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  has_vulkan_driver || missing+=("a Vulkan driver")
  if ((${#missing[@]})); then
    say "this system has no apt-get; please install: ${missing[*]}"
    die "on Debian the packages are: $*"
  fi
}

configure() { # further arguments for cmake
  local cache=$build/CMakeCache.txt generator=()
  if [[ -f $cache ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache"; then
    rm -rf "$cache" "$build/CMakeFiles" # the checkout was moved
  fi
  if [[ ! -f $cache ]] && command -v ninja >/dev/null; then
    generator=(-G Ninja)
  fi
  mkdir -p "$build"
  : >"$build/configure.log"
  run_logged "$build/configure.log" cmake -S "$root" -B "$build" "${generator[@]}" "$@"
}

is_configured() {
  [[ -f $build/build.ninja || -f $build/Makefile ]] &&
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build/CMakeCache.txt"
}

# Builds with one line of progress; the full output is in build/build.log.
build_targets() { # arguments for cmake --build
  local log=$build/build.log shown=0
  if cmake --build "$build" --parallel "$(nproc 2>/dev/null || echo 2)" "$@" 2>&1 </dev/null | tee "$log" | {
    while IFS= read -r line; do
      [[ $line =~ ^\[\ *([1-9][0-9]*(/[0-9]+|%))\] ]] || continue
      if [[ -t 2 ]]; then
        printf '\rvkmoe: builds %s ' "${BASH_REMATCH[1]}" >&2
      elif ((!shown)); then
        say "builds (progress: $log)"
      fi
      shown=1
    done
    if ((shown)) && [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
  }; then
    return 0
  fi
  grep -A15 -E 'FAILED|error|Error' "$log" | head -n 60 >&2 || tail -n 25 "$log" >&2
  die "the build failed (the whole log: $log)"
}

# One setup or build at a time; a second waits.
lock() {
  mkdir -p "$build"
  if command -v flock >/dev/null; then
    exec 9>"$build/lock"
    flock -n 9 || { say "waits for another run.sh or test.sh that builds"; flock 9; }
  fi
}
unlock() { exec 9>&-; }
