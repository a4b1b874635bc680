#!/usr/bin/env bash
# Runs a Vulkan program on a GPU that is not there, with the real compiler and limits of its driver. What is submitted
# finishes at once and changes nothing. usage: as_gpu.sh GPU PROGRAM [ARGUMENTS]   GPU: a name below, or "list".
# Needs the drivers of build.sh in $VKMOE_COMPILERS (default build/vendor-compilers); AMD: the package
# mesa-vulkan-drivers and the layer (target vkmoe_compilers_layer) in $VKMOE_LAYERS (default build/layers).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
drivers=${VKMOE_COMPILERS:-$root/build/vendor-compilers}
layers=${VKMOE_LAYERS:-$root/build/layers}
gpus=(amd-{gfx1100,navi21,vega10} intel-{skl,tgl,dg2,bmg} adreno-{618,660,740,x1} mali-{g52,g610,g76})
[[ ${1:-} != list ]] || { echo "${gpus[*]}"; exit 0; }
(($# >= 2)) || { echo "usage: as_gpu.sh GPU PROGRAM [ARGUMENTS]   GPU: ${gpus[*]}" >&2; exit 2; }
gpu=$1 kind=${1%%-*} model=${1#*-}
shift

case $kind in
  amd) driver=radeon choice=RADV_FORCE_FAMILY=$model ;;
  intel) driver=intel shim=intel choice=INTEL_STUB_GPU_PLATFORM=$model ;;
  adreno) driver=freedreno shim=freedreno choice=FD_GPU_ID=$model
    [[ $model != x1 ]] || choice=FD_CHIP_ID=0x43050c01 ;;
  mali) driver=panfrost shim=panfrost
    case $model in  # the chip's id
      g52) choice=PAN_GPU_ID=7212 more=MESA_VK_VERSION_OVERRIDE=1.1 ;;  # as Arm's own driver; Mesa's says 1.0
      g76) choice=PAN_GPU_ID=7211 ;;
      g610) choice=PAN_GPU_ID=a867 ;;
    esac ;;
esac
[[ -n ${choice:-} ]] || { echo "as_gpu.sh: knows no GPU '$gpu', but ${gpus[*]}" >&2; exit 2; }

if [[ $driver == radeon ]]; then
  icd=/usr/share/vulkan/icd.d/radeon_icd.x86_64.json
else
  icd=$drivers/${driver}_icd.json
  preload=LD_PRELOAD=$drivers/lib${shim}_noop_drm_shim.so
fi
[[ -f $icd ]] || { echo "as_gpu.sh: there is no $icd; see tools/compilers/README.md" >&2; exit 3; }
# The validation layer, where it is on, must lie above ours: first by name, and found first.
above=
[[ ${VKMOE_VALIDATION:-0} == @(0|names) ]] || above=VK_LAYER_KHRONOS_validation:
exec env "$choice" ${more:+"$more"} ${preload:+"$preload"} PAN_I_WANT_A_BROKEN_VULKAN_DRIVER=1 VK_ICD_FILENAMES="$icd" \
  VK_DRIVER_FILES="$icd" VK_LAYER_PATH="/usr/share/vulkan/explicit_layer.d:$layers" VK_INSTANCE_LAYERS="${above}VK_LAYER_VKMOE_compilers" \
  NODEVICE_SELECT=1 MESA_SHADER_CACHE_DISABLE=true "$@"
