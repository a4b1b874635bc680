#!/usr/bin/env bash
# Installs what is missing, builds, and runs vkmoe. See usage below.
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools/setup.sh"

if (($# == 0)); then
  cat <<'USAGE'
usage: ./run.sh "PROMPT" [options]     answers with the model in models/
       ./run.sh COMMAND [arguments]    one of: run chat logits perplexity tokenize inspect models devices bench
       ./run.sh --help                 the program's own help; ./run.sh COMMAND --help for a command's

The first start installs the Debian packages that are missing (it says which) and builds into build/;
later starts only look whether anything changed. Example: ./run.sh "What is a lighthouse?"
USAGE
  exit 2
fi

lock
packages=("${build_packages[@]}")
has_vulkan_driver || packages+=(mesa-vulkan-drivers)
install_packages "${packages[@]}"
# shellcheck disable=SC2119  # "$@" is not meant for the function of setup.sh
is_configured || configure
build_targets --target vkmoe
unlock

case $1 in
  run | chat | logits | perplexity | tokenize | inspect | models | devices | bench | -h | --help | --version)
    exec "$build/vkmoe" "$@" ;;
  *) exec "$build/vkmoe" run "$@" ;;
esac
