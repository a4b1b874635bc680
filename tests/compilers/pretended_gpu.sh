#!/usr/bin/env bash
# Runs the whole program on a pretended GPU under the validation layers: choose a device, load, compile, record, submit.
# What it computes means nothing there. usage: pretended_gpu.sh GPU VKMOE MODEL; exit 3: the drivers are not there.
set -uo pipefail
gpu=$1 vkmoe=$2 model=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
output=$(VKMOE_VALIDATION=1 "$root/tools/compilers/as_gpu.sh" "$gpu" "$vkmoe" bench -m "$model" -p 40 -n 4 -r 1 2>&1)
code=$?
echo "$output"
((code != 3)) || { echo "skipped"; exit 3; }
if grep -q -e 'Unhandled' -e 'validation:' <<<"$output"; then exit 1; fi
if [[ $gpu == mali-g76 ]]; then  # Vulkan 1.0: one line that says why, and an exit code of its own
  ((code == 1)) && grep -qx "vkmoe: device 0 'Mali-G76' offers Vulkan 1.0, vkmoe needs 1.1" <<<"$output"
else
  ((code == 0)) && grep -q 'tokens/s' <<<"$output"
fi
