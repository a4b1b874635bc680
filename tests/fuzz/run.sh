#!/usr/bin/env bash
# Builds the fuzz targets with clang, AddressSanitizer and UBSan, and runs each for SECONDS (default an hour), as many at
# once as there are cores: tests/fuzz/run.sh [SECONDS [TARGET...]]. Inputs that found something lie in build/fuzz/found;
# "build/fuzz/TARGET_fuzz INPUT" repeats them. Exit code 77 where there is no clang with libFuzzer.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${VKMOE_FUZZ_BUILD:-$root/build/fuzz}
seconds=${1:-3600}
shift || true

clang=
for name in clang++ $(compgen -c clang++- | sort -Vr | uniq); do
  if command -v "$name" >/dev/null && echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, long) { return 0; }' |
    "$name" -fsanitize=fuzzer,address -x c++ - -o /dev/null 2>/dev/null; then
    clang=$name
    break
  fi
done
[[ $clang ]] || { echo "no clang++ with libFuzzer is installed: fuzzing is skipped" >&2; exit 77; }

mkdir -p "$build/found"
nice cmake -S "$here" -B "$build" -DCMAKE_CXX_COMPILER="$clang" -DCMAKE_BUILD_TYPE=None >"$build/configure.log" 2>&1 ||
  { tail -n 30 "$build/configure.log" >&2; exit 1; }
nice cmake --build "$build" --parallel "$(nproc)" >"$build/build.log" 2>&1 || { tail -n 30 "$build/build.log" >&2; exit 1; }

# Seeds: what is kept here, and the models and templates of the other tests. What was found earlier is gone on with.
seed() { # TARGET
  local corpus=$build/corpus/$1 file
  mkdir -p "$corpus"
  [[ ! -d $here/corpus/$1 ]] || cp -n "$here/corpus/$1"/* "$corpus/"
  case $1 in
    config) for file in "$root"/tests/data/goldens/*/config.json; do cp -n "$file" "$corpus/$(basename "$(dirname "$file")")"; done ;;
    template) cp -n "$root"/tests/data/templates/*.jinja "$corpus/" ;;
  esac
}

fuzz() { # TARGET
  local log=$build/$1.log status=0 TIMEFORMAT='%U s of processor time'
  local options=(-max_total_time="$seconds" -max_len=16384 -timeout=300 -rss_limit_mb=2500 -malloc_limit_mb=600
    -print_final_stats=1 -artifact_prefix="$build/found/$1-")
  [[ ! -f $here/$1.dict ]] || options+=(-dict="$here/$1.dict")
  seed "$1"
  mkdir -p "$build/tmp"
  { time TMPDIR=$build/tmp nice -n 19 "$build/${1}_fuzz" "${options[@]}" "$build/corpus/$1" >"$log" 2>&1; } 2>"$log.time" || status=1
  echo "$1: $(sed -n 's/^stat::number_of_executed_units: //p' "$log") inputs, $(cat "$log.time")"
  ((status == 0)) || { grep -a -E -A 12 'ERROR|runtime error|SUMMARY|Test unit written' "$log" || tail -n 30 "$log"; } | head -n 60
  return $status
}

targets=("$@") pids=() status=0
(($#)) || for source in "$here"/*_fuzz.cpp; do targets+=("$(basename "$source" _fuzz.cpp)"); done
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for target in "${targets[@]}"; do
  while (($(jobs -rp | wc -l) >= $(nproc))); do sleep 0.2; done
  fuzz "$target" &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
exit $status
