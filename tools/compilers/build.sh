#!/usr/bin/env bash
# Makes Mesa's Vulkan drivers for Intel, Adreno and Mali, and libraries that let them run with no such GPU, from Debian's
# packages and source packages (Debian 12, amd64; meson comes from PyPI). Then tools/compilers/as_gpu.sh can use them.
# usage: build.sh [DIR]   default: build/vendor-compilers; about 20 minutes on two cores and 2 GB. JOBS: compilers at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath -m "${1:-$here/../../build/vendor-compilers}")
work=$out/work mesa=25.0.7
jobs=${JOBS:-$(nproc)}
packages=(gcc g++ binutils patch xz-utils pkg-config ninja-build bison flex python3 python3-venv python3-mako python3-yaml
  python3-packaging libdrm-dev libelf-dev zlib1g-dev libzstd-dev libexpat1-dev glslang-tools libvulkan1 mesa-vulkan-drivers)
mkdir -p "$out" "$work/lists/partial"

as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi; }

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) == [ih]i* ]] || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "installs with apt-get: ${missing[*]}"
  as_root apt-get update -q
  as_root apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

# Debian's backports, in package lists of their own: the system's are left alone.
suite='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main'
printf 'deb %s\ndeb-src %s\n' "$suite" "$suite" >"$work/sources.list"
apt=(-q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$work/lists"
  -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o APT::Sandbox::User=root)
package_version() { # of mesa in backports; "showsrc mesa" or "show mesa-vulkan-drivers"
  apt-cache "${apt[@]}" "$@" | sed -n "s/^Version: \($mesa-.*\)/\1/p" | sort -V | tail -n 1
}
compgen -G "$work/lists/*Sources*" >/dev/null || as_root apt-get "${apt[@]}" update

source_dir=$work/mesa-$mesa
if [[ ! -f $source_dir/.patched ]]; then
  version=$(package_version showsrc mesa)
  [[ -n $version ]] || { echo "bookworm-backports has no source of Mesa $mesa" >&2; exit 1; }
  (cd "$work" && apt-get "${apt[@]}" source --download-only --tar-only "mesa=$version")
  rm -rf "$source_dir"
  tar -C "$work" -xf "$work/mesa_$mesa.orig.tar.xz"
  for change in "$here"/patches/*.patch; do patch -d "$source_dir" -p1 -s <"$change"; done
  touch "$source_dir/.patched"
fi

# Debian's python3 with its modules, and a meson that is new enough for this Mesa.
if [[ ! -x $work/python/bin/meson ]]; then
  /usr/bin/python3 -m venv --system-site-packages "$work/python"
  "$work/python/bin/pip" install -q 'meson>=1.1,<1.8'
fi
export PATH=$work/python/bin:/usr/bin:/bin
if [[ ! -f $work/build/build.ninja ]]; then
  meson setup "$work/build" "$source_dir" --wrap-mode=nodownload --buildtype=release -Db_ndebug=true \
    -Dvulkan-drivers=freedreno,panfrost -Dfreedreno-kmds=msm -Dtools=drm-shim,intel -Dintel-elk=false \
    -Dgallium-drivers= -Dplatforms= -Dvulkan-layers= -Dvideo-codecs= -Dglx=disabled -Degl=disabled -Dgbm=disabled \
    -Dopengl=false -Dgles1=disabled -Dgles2=disabled -Dllvm=disabled -Dxmlconfig=disabled -Dexpat=enabled \
    -Dzstd=enabled -Dvalgrind=disabled -Dlibunwind=disabled -Dlmsensors=disabled -Dbuild-tests=false
fi
made=(src/intel/tools/libintel_noop_drm_shim.so src/freedreno/drm-shim/libfreedreno_noop_drm_shim.so
  src/panfrost/drm-shim/libpanfrost_noop_drm_shim.so src/freedreno/vulkan/libvulkan_freedreno.so
  src/panfrost/vulkan/libvulkan_panfrost.so)
ninja -C "$work/build" -j"$jobs" "${made[@]}"
for library in "${made[@]}"; do strip --strip-unneeded -o "$out/${library##*/}" "$work/build/$library"; done

# Intel's driver would need LLVM and libclc to build; Debian's binary is unpacked and not installed.
if [[ ! -f $out/libvulkan_intel.so ]]; then
  (cd "$work" && apt-get "${apt[@]}" download "mesa-vulkan-drivers=$(package_version show mesa-vulkan-drivers)")
  dpkg-deb --fsys-tarfile "$work"/mesa-vulkan-drivers_*.deb |
    tar -xO ./usr/lib/x86_64-linux-gnu/libvulkan_intel.so >"$out/libvulkan_intel.so"
fi
for driver in freedreno panfrost intel; do
  printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "./libvulkan_%s.so", "api_version": "1.4.305"}}\n' \
    "$driver" >"$out/${driver}_icd.json"
done
echo "the drivers are in $out; $work is no longer needed"
