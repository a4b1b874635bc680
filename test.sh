#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every test. Arguments go to ctest: ./test.sh -R loader
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools/setup.sh"

# SwiftShader is a second Vulkan driver without hardware, very near to the least that vkmoe needs. Debian has it as a file
# inside of a browser's package, which is unpacked and not installed. Prints the path of its ICD file.
fetch_swiftshader() {
  local folder=$build/swiftshader work
  if [[ -f $folder/vk_swiftshader_icd.json ]]; then
    return 0
  fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    return 1
  fi
  work=$(mktemp -d "$build/swiftshader.XXXXXX")
  say "downloads the Debian package chromium-common and takes SwiftShader out of it (nothing is installed)"
  if ! (cd "$work" && apt-get download chromium-common) >>"$build/setup.log" 2>&1; then
    as_root apt-get update -qq >>"$build/setup.log" 2>&1 </dev/null || true
    (cd "$work" && apt-get download chromium-common) >>"$build/setup.log" 2>&1 || { rm -rf "$work"; return 1; }
  fi
  dpkg -x "$work"/chromium-common_*.deb "$work/x" || { rm -rf "$work"; return 1; }
  mkdir -p "$folder"
  find "$work/x" -name libvk_swiftshader.so -exec mv {} "$folder/" \;
  find "$work/x" -name vk_swiftshader_icd.json -exec mv {} "$folder/" \;
  rm -rf "$work"
  [[ -f $folder/libvk_swiftshader.so && -f $folder/vk_swiftshader_icd.json ]]
}

# libFuzzer belongs to clang's runtime library, a package of its own whose name has clang's version.
install_fuzzer() {
  local version
  command -v apt-cache >/dev/null || return 1
  version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
  [[ $version ]] && apt-cache show "libclang-rt-$version-dev" >/dev/null 2>&1 || return 1
  install_packages "clang-$version" "libclang-rt-$version-dev"
}

started=$SECONDS
lock
install_packages "${build_packages[@]}" "${test_packages[@]}"
install_fuzzer || say "clang's libFuzzer is not to be had on this system: the fuzz targets are skipped"

options=() drivers=()
swiftshader=$build/swiftshader/vk_swiftshader_icd.json
if fetch_swiftshader; then
  options+=("-DVKMOE_SWIFTSHADER_ICD=$swiftshader")
  drivers+=(SwiftShader)
else
  say "SwiftShader is not to be had on this system: its tests are skipped"
fi
lavapipe=$(compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' | head -n 1 || true)
if [[ -n $lavapipe ]]; then
  options+=("-DVKMOE_LAVAPIPE_ICD=$lavapipe")
  drivers+=(lavapipe)
else
  say "lavapipe's driver file is not in /usr/share/vulkan/icd.d: its tests are skipped"
fi
((${#drivers[@]})) || die "found no driver to test on; on Debian, lavapipe is in mesa-vulkan-drivers"

configure "${options[@]}"
# shellcheck disable=SC2119  # "$@" is not meant for the function of setup.sh
build_targets
unlock

results=$build/test-results.xml
rm -f "$results"
status=0
ctest --test-dir "$build" --output-on-failure --output-junit "$results" "$@" || status=$?

count() { sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" "$results" | head -n 1; }
if [[ -f $results ]]; then
  tests=$(count tests) failed=$(count failures) skipped=$(count skipped)
  disabled=$(count disabled)
  echo "Drivers: ${drivers[*]}. Took $((SECONDS - started)) s, with setup and build."
  echo "$((tests - failed - skipped - disabled)) passed, $failed failed, $((skipped + disabled)) skipped"
fi
exit "$status"
