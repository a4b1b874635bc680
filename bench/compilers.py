#!/usr/bin/env python3
"""Writes bench/compilers.json and bench/compilers.md: what vendors' compilers make of the hot kernels, and of the peer's
(llama.cpp's Vulkan backend) for the same operations, on pretended GPUs (tools/compilers/README.md).

usage: compilers.py --build BUILD [--compilers DIR] [--peer DIR] [--gpus GPU ...] [--work DIR]
  --peer: a folder with llama.cpp's llama-bench and llama-quantize; its kernels are those that it compiles for a small
          Qwen3-MoE (the model in models/) whose experts are of another format in each layer. Left out: the peer's rows of
          the last run stay as they are.
"""
import argparse, datetime, json, os, re, subprocess, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GPUS = ["amd-gfx1100", "amd-navi21", "amd-vega10", "intel-dg2", "intel-bmg", "adreno-740", "mali-g610"]
FORMATS = ["q4_k", "q6_k", "q8_0", "f16", "mxfp4"]
GGML_TYPES = {8: "q8_0", 12: "q4_k", 14: "q6_k"}  # of the peer's kernels that take the type as a constant
MULTIPLY_ADD = re.compile(r"v_(pk_)?(fma|mad|mac|dot)|^(mad(?!sh)|dp4a|dpas|FMA|IDP)|dp[24]acc")


# ---- the machine's code -----------------------------------------------------------------------------------------

# By vendor: label, instruction (its name in a group), jump (its target in a group).
SYNTAX = {
    "amd": (r"(BB\d+):", r"([svb]_\w+|(?:ds|global|buffer|flat|exp|image|scratch|lds\w*)_\w+)", r"s_c?branch\w*\s+(BB\d+)"),
    "intel": (r"(LABEL\d+):", r"(?:\([^)]*\)\s*)?([a-z][\w.]*)\s*\(\d+\)", r".*\bwhile\S*\s+JIP:\s+(LABEL\d+)"),
    "adreno": (r"(l\d+):", r"(?:\([a-z0-9,]+\))*\s*([a-z][\w.]*)", r".*\b(?:br\w*|jump|bany|ball)\b.*#(l\d+)"),
    "mali": (r"(\w+):$", r"([A-Z][A-Z0-9_]+)", r"BRANCH\S*\s.*offset:(-?\d+)"),
}


def instructions_and_loops(vendor, text):
    """Names of the instructions in order, and (first, end) of each loop: from a jump's target back to the jump."""
    label, instruction, jump = (re.compile(r) for r in SYNTAX[vendor])
    names, labels, jumps = [], {}, []
    for line in map(str.strip, text.splitlines()):
        if found := label.match(line):
            labels[found[1]] = len(names)
        elif not line.startswith(";") and (found := instruction.match(line)):
            if target := jump.match(line):
                jumps.append((len(names), target[1]))
            repeats = re.search(r"\(rpt(\d)\)", line) if vendor == "adreno" else None
            names += [found[1]] * (1 + int(repeats[1]) if repeats else 1)
    loops = {}
    for at, target in jumps:
        first = at + 1 + int(target) if vendor == "mali" else labels.get(target, at + 1)
        if first <= at:
            loops[first] = max(at + 1, loops.get(first, 0))
    return names, list(loops.items())


def hot_loop(vendor, text, multiply_adds):
    """Instructions of the smallest loop that holds at least nine tenths of the most multiply-adds of any loop, and how many
    of them it does: multiply_adds. Where these cannot all be there, since loops inside of it were not unrolled, both of the
    deepest loop, which is less than what is done in all."""
    names, loops = instructions_and_loops(vendor, text)
    adds = {loop: sum(bool(MULTIPLY_ADD.search(n)) for n in names[slice(*loop)]) for loop in loops}
    most = max(adds.values(), default=0)
    if not most:
        return None
    first, end = min((loop for loop in loops if adds[loop] >= 0.9 * most), key=lambda loop: loop[1] - loop[0])
    matrices = any(name.startswith("dpas") for name in names)
    if 4 * most >= multiply_adds or matrices:  # else an instruction does four at most
        return end - first, multiply_adds
    depth = lambda loop: sum(a <= loop[0] and loop[1] <= b for a, b in loops)
    first, end = max(filter(adds.get, loops), key=depth)
    return end - first, adds[first, end]


# ---- statistics -------------------------------------------------------------------------------------------------

def read_pipelines(path):
    rows = {}
    for line in open(path):
        record = json.loads(line)
        rows.setdefault(record["pipeline"], {}).update(record)
    return [row for row in rows.values() if "statistics" in row]


def common_statistics(vendor, row):
    s = row["statistics"]
    get = lambda *names: next((int(s[n]) if float(s[n]).is_integer() else s[n] for n in names if n in s), None)
    result = {"subgroup": row["subgroup"], "instructions": get("Instructions", "Instruction Count"),
              "registers": get("VGPRs", "Max live registers", "Registers used", "Registers"),
              "spills": get("Spilled VGPRs", "Spill Count", "STP Count", "Spills"),
              "stack_bytes": get("Scratch size", "Scratch Memory Size", "Stack bytes"),
              "occupancy": get("Subgroups per SIMD", "Max Waves Per Core", "Occupancy")}
    extra = {"amd": ["Latency", "Inverse Throughput"], "intel": ["Cycle Count", "Fill Count"],
             "adreno": ["Half-registers used", "Estimated cycles stalled on SS", "Estimated cycles stalled on SY"],
             "mali": [n for n in s if "cycles" in n or n == "Loop instructions"]}[vendor]
    result["other"] = {n: s[n] for n in extra if n in s}
    return result


def our_kernel(vendor, name):
    """Operation, format, weights and multiply-adds of an invocation in a step of the loop; None: not in the table."""
    if not name.startswith("matmul"):
        head = name.split("(")[0]
        constants = name[name.find("(") + 1:-1].split(",")
        if head == "attention":
            return f"attention, {'decode' if constants[3] == '1' else 'prefill'}, heads of {constants[1]}", None, None, None
        if head == "gate":
            return f"top-k, {constants[1]} experts", None, None, None
        return None
    staged, name, constants = re.match(r"matmul_(staged_|int8_|coopmat_)?(?:storage16_)?(\w+)\((.*)\)", name).groups()
    lanes, lane_rows, tokens, rows, epilogue, tiles = map(int, constants.split(",")[:6])
    if rows == 0 or (rows == 1 and tokens not in (4 if vendor == "mali" else 8, 32)):
        return None
    operation = {1: "decode", 4: "small batch", 8: "small batch", 32: "prefill"}[tokens] + (", gate and up" if epilogue == 2 else "")
    if staged in ("int8_", "coopmat_"):
        operation = operation.replace("prefill", {"int8_": "prefill, int8", "coopmat_": "prefill, matrices"}[staged])
    if staged:  # a block of 32 values of all rows and tokens of the workgroup
        return operation, name, tiles * 32 * 32 / lanes, tiles * 32 * 32 * tokens / lanes
    weights = lane_rows * tiles * 32  # a block of 32 values for each row that the invocation owns
    return operation, name, weights, weights * tokens


def peer_kernel(name, constants):
    c = dict(map(tuple, constants or []))
    if found := re.match(r"mul_mat_vec_id_(\w+)_f32$", name):
        values = {"q4_k": 16, "q6_k": 16, "q8_0": 32, "mxfp4": 32, "f16": 16}.get(found[1])  # of a row, in a step
        return values and ("decode", found[1], values * c[1], values * c[1])
    if found := re.match(r"mul_mat_vec_id_(\w+)_q8_1_f32$", name):
        return ("decode, int8", found[1], None, None)
    if found := re.match(r"matmul_id_(?:subgroup_)?([a-z0-9]+(?:_[k0])?)_", name):
        format = GGML_TYPES.get(c.get(12), "?") if found[1] == "quant" else found[1]
        weights = c[1] * 32 / c[0]
        return ("prefill", format, weights, weights * c[2])
    if name.startswith("flash_attn_f32"):
        return ("attention", None, None, None)
    if name.startswith("topk_moe"):
        return ("top-k, 16 experts", None, None, None)
    return None


def table_rows(gpu, engine, path):
    vendor, rows = gpu.split("-")[0], []
    for pipeline in read_pipelines(path):
        name = pipeline.get("name", "")
        known = our_kernel(vendor, name) if engine == "vkmoe" else peer_kernel(name, pipeline.get("constants"))
        if not known:
            continue
        operation, format, weights, multiply_adds = known
        row = {"gpu": gpu, "engine": engine, "operation": operation, "format": format, "kernel": name}
        if engine == "peer":
            row["constants"] = [value for _, value in pipeline.get("constants") or []]
        row.update(common_statistics(vendor, pipeline))
        loop = weights and hot_loop(vendor, pipeline.get("assembly", ""), multiply_adds)
        if loop:
            size, done = loop
            row.update(loop_instructions=size, per_weight=round(size * multiply_adds / done / weights, 2),
                       per_multiply_add=round(size / done, 3))
        rows.append(row)
    if engine == "vkmoe":  # which were compiled at once: in an order that does not change
        rows.sort(key=lambda row: (row["operation"], row["format"] or "", row["kernel"]))
    return rows


# ---- runs -------------------------------------------------------------------------------------------------------

def run(gpu, program, stats, environment):
    stats.unlink(missing_ok=True)
    done = subprocess.run([ROOT / "tools/compilers/as_gpu.sh", gpu, *map(str, program)], capture_output=True, text=True,
                          env={**os.environ, **environment, "VKMOE_COMPILER_STATS": str(stats), "VKMOE_COMPILER_ASSEMBLY": "1"})
    if done.returncode:
        raise SystemExit(f"{gpu}: {program[0]} failed ({done.returncode}): {done.stderr[-2000:]}")
    return done


def peer_model(peer, work):
    model = work / "peer.gguf"
    if not model.exists():
        overrides = []
        for layer, format in enumerate(FORMATS):
            overrides += ["--tensor-type", rf"blk.{layer}.ffn_.*_exps={format}"]
        subprocess.run([peer / "llama-quantize", "--allow-requantize", *overrides, "--pure",
                        ROOT / "models/vkmoe-default.gguf", model, "Q8_0", "1"], check=True, capture_output=True)
    return model


def gather(arguments):
    rows = []
    environment = {"VKMOE_LAYERS": str(arguments.build / "layers"), "GGML_VK_VISIBLE_DEVICES": "0"}
    if arguments.compilers:
        environment["VKMOE_COMPILERS"] = str(arguments.compilers)
    for gpu in arguments.gpus:
        stats = arguments.work / f"vkmoe-{gpu}.txt"
        run(gpu, [arguments.build / "compile_kernels", "--hot"], stats, {**environment, "VKMOE_VALIDATION": "names"})
        rows += table_rows(gpu, "vkmoe", stats)
        if arguments.peer:
            stats = arguments.work / f"peer-{gpu}.txt"
            run(gpu, [arguments.peer / "llama-bench", "-m", peer_model(arguments.peer, arguments.work), "-dev", "Vulkan0",
                      "-ngl", "99", "-p", "64", "-n", "1", "-r", "1", "--no-warmup"], stats,
                {**environment, "GGML_VK_DEBUG_MARKERS": "1"})
            rows += table_rows(gpu, "peer", stats)
        else:
            rows += [r for r in arguments.before if (r["gpu"], r["engine"]) == (gpu, "peer")]
        print(f"{gpu}: {len(rows)} rows so far", flush=True)
    return rows


# ---- the page ---------------------------------------------------------------------------------------------------

def cell(row, measure):
    if row is None:
        return "–"
    text = f"{row[measure]:.2f}" if row.get(measure) is not None else f"{row['instructions']} in all"
    if row["spills"] or (row["stack_bytes"] or 0) > 0:
        text += f", **{row['spills']:.0f} spills**" if row["spills"] else f", {row['stack_bytes']:.0f} bytes of stack"
    return text


def comparison(rows, gpus, operation, measure, ours_first=()):
    """operation: the peer's, and vkmoe's unless it has one of ours_first."""
    lines = [f"| format | {' | '.join(gpus)} |", "|---" * (len(gpus) + 1) + "|"]
    for format in FORMATS:
        cells = []
        for gpu in gpus:
            def pick(engine, operation):
                return next((r for r in rows if (r["gpu"], r["engine"], r["operation"], r["format"]) ==
                             (gpu, engine, operation, format)), None)
            ours = next(filter(None, (pick("vkmoe", name) for name in [*ours_first, operation, "small batch"])), None)
            peer = pick("peer", operation)
            text = f"{cell(ours, measure)} / {cell(peer, measure)}"
            worse = ours and peer and ours.get(measure) and peer.get(measure) and ours[measure] > peer[measure]
            cells.append(text + (" ↑" if worse else ""))
        lines.append(f"| {format.upper()} | {' | '.join(cells)} |")
    return lines


def details(rows, gpu):
    lines = [f"\n### {gpu}\n", "| engine | operation | format | subgroup | instructions | in the loop | registers | spills | "
             "stack bytes | occupancy | other |", "|---" * 11 + "|"]
    for r in rows:
        if r["gpu"] != gpu:
            continue
        other = ", ".join(f"{k} {round(v, 2) if isinstance(v, float) else v}" for k, v in r["other"].items())
        values = [r["engine"], r["operation"], (r["format"] or "").upper(), r["subgroup"], r["instructions"],
                  r.get("loop_instructions", ""), r["registers"], r["spills"], r["stack_bytes"], r["occupancy"], other]
        lines.append("| " + " | ".join("" if v is None else str(v) for v in values) + " |")
    return lines


def page(document):
    rows, gpus = document["rows"], document["gpus"]
    lines = ["# What vendors' compilers make of the hot kernels", "",
             f"Made by `bench/compilers.py` on {document['date']}, with no GPU: the drivers compile, nothing runs. "
             f"{document['versions']}.", "",
             "Instructions are those of an invocation, counted in the machine's code of the loop over a row's blocks (the "
             "smallest loop that holds the multiply-adds). Spilled registers are bold. ↑: more than the peer. First vkmoe, "
             "then the peer (llama.cpp's Vulkan backend, the kernels that it chooses for a small Qwen3-MoE). vkmoe's kernels are "
             "those for a device whose conversion of fp16 is exact, which is tried when one is opened (`half_probe.comp`); where "
             "it is not, F16 and MXFP4 take more.", "",
             "## Decode: instructions per weight, one token (`mul_mat_vec_id`)", "",
             *comparison(rows, gpus, "decode", "per_weight"), "",
             "## Prefill: instructions per multiply-add (`mul_mat_id`)", "",
             "vkmoe's tiles are 32 tokens high, the peer's 64; both use matrices of fp16 (VK_KHR_cooperative_matrix) on "
             "intel-bmg, else int8 dot products (four multiply-adds in one) where the device has them, else the peer fp16, vkmoe "
             "float32. Mali G610's 64 registers are too few for tiles of 32: with 16 sums an invocation spills, with 8 it loads "
             "more than in tiles of 4, which vkmoe has there, with two rows of W an invocation. Mesa's compiler for Mali does "
             "not unroll the peer's loops: its figures there are of the innermost loop and the multiply-adds in it alone.", "",
             *comparison(rows, gpus, "prefill", "per_multiply_add", ["prefill, matrices", "prefill, int8"]), "",
             "The same with `--exact`: float32, one order of summation.", "",
             *comparison(rows, gpus, "prefill", "per_multiply_add"), "", "## All figures", "",
             "Occupancy: AMD subgroups per SIMD, Adreno waves per core, Mali 1 or half. Mali's cycles are those of each "
             "unit, of the shader and of its loop."]
    for gpu in gpus:
        lines += details(rows, gpu)
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--compilers", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--gpus", nargs="+", default=GPUS)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "vkmoe-compilers")
    parser.add_argument("--out", type=Path, default=ROOT / "bench", help="folder of the two files")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    version = lambda package: subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True).stdout
    versions = f"AMD: Mesa {version('mesa-vulkan-drivers')}; Intel, Adreno, Mali: Mesa 25.0.7; glslang {version('glslang-tools')}"
    versions += "; the peer: node-llama-cpp 3.22.1's llama.cpp"
    last = arguments.out / "compilers.json"
    arguments.before = json.loads(last.read_text())["rows"] if last.exists() else []
    document = {"date": datetime.date.today().isoformat(), "versions": versions, "gpus": arguments.gpus, "rows": gather(arguments)}
    with open(arguments.out / "compilers.json", "w") as out:
        out.write(json.dumps({k: v for k, v in document.items() if k != "rows"})[:-1] + ', "rows": [\n')
        out.write(",\n".join(json.dumps(row) for row in document["rows"]) + "\n]}\n")
    (arguments.out / "compilers.md").write_text(page(document))


if __name__ == "__main__":
    main()
