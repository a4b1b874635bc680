#!/usr/bin/env bash
# Compiles, records and submits the quick set of vkmoe-conformance on a pretended GPU under the validation layers; results
# mean nothing there. usage: pretended_conformance.sh GPU VKMOE_CONFORMANCE; exit 3: the drivers are not there.
set -uo pipefail
gpu=$1 conformance=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# In parts: a pretended Intel, Adreno or Mali GPU has 4 GiB of memory for all that a process ever allocates.
for kernel in $("$conformance" --list | cut -d/ -f1 | uniq); do
  output=$(VKMOE_VALIDATION=1 "$root/tools/compilers/as_gpu.sh" "$gpu" "$conformance" --ignore-results --repeat 1 --filter "$kernel/" 2>&1)
  code=$?
  echo "$output"
  ((code != 3)) || { echo "skipped"; exit 3; }
  if [[ $gpu == mali-g76 ]]; then  # Vulkan 1.0
    ((code == 1)) && grep -qx "vkmoe-conformance: device 0 'Mali-G76' offers Vulkan 1.0, vkmoe needs 1.1" <<<"$output"
    exit
  fi
  if ((code != 0)) || grep -q -e 'Unhandled' -e 'validation:' <<<"$output"; then exit 1; fi
done
