#!/usr/bin/env python3
"""Measures vkmoe and a peer (llama.cpp's llama-bench) alternately on the same files and device, prints the ratios with
their spread, writes them to bench/results/ and renews the table in bench/README.md.

usage: compare.py --peer LLAMA_BENCH [--vkmoe PROGRAM] [--prompt N] [--tokens N] [--rounds N] [--name NAME] MODEL.gguf ...
       compare.py --table
  --device, --peer-device: as vkmoe -d and llama-bench -dev have it; both must name the same device
  --table: only renews the table of bench/README.md from bench/results/*.json
The environment goes to both programs as it is (VK_ICD_FILENAMES, GGML_VK_VISIBLE_DEVICES, ...).
"""
import argparse, datetime, json, os, platform, statistics, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS, README = ROOT / "bench" / "results", ROOT / "bench" / "README.md"
BEGIN, END = "<!-- made by compare.py -->", "<!-- end -->"


def run(command):
    print("  " + " ".join(str(part) for part in command[1:]), file=sys.stderr, flush=True)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"compare.py: {command[0]}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def measure_vkmoe(args, model):
    """Tokens per second of a prefill and of decoding, after a run that warms up."""
    device = ["-d", args.device] if args.device else []
    command = [args.vkmoe, "bench", "-m", model, "-p", args.prompt, "-n", args.tokens, "-r", 3, "--json", *device]
    found = json.loads(run(command))
    return {"prefill": found["prefill_tokens_per_second"], "decode": found["decode_tokens_per_second"]}, found


def measure_peer(args, model):
    """The same of the peer, which warms up on its own."""
    speed, found = {}, {}
    for phase, p, n in (("prefill", args.prompt, 0), ("decode", 0, args.tokens)):
        command = [args.peer, "-m", model, "-dev", args.peer_device, "-ngl", 99, "-p", p, "-n", n, "-r", 1, "-o", "json"]
        found = json.loads(run(command))[0]
        speed[phase] = found["avg_ts"]
    return speed, found


def compare(args, model):
    """Rounds in turn, so that what else the machine does meets both; who begins changes from round to round."""
    rounds, ours, theirs = [], {}, {}
    for i in range(args.rounds):
        print(f"{Path(model).name}, round {i + 1} of {args.rounds}", file=sys.stderr)
        if i % 2:
            peer, theirs = measure_peer(args, model)
            own, ours = measure_vkmoe(args, model)
        else:
            own, ours = measure_vkmoe(args, model)
            peer, theirs = measure_peer(args, model)
        rounds.append({"vkmoe": own, "peer": peer})
    ratios = {phase: sorted(r["vkmoe"][phase] / r["peer"][phase] for r in rounds) for phase in ("prefill", "decode")}
    result = {"model": Path(model).name, "bytes": os.path.getsize(model), "rounds": rounds,
              "ratios": {phase: {"median": statistics.median(r), "least": r[0], "most": r[-1]} for phase, r in ratios.items()}}
    return result, ours, theirs


def git(*arguments):
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def driver_of(vkmoe, name):
    for device in json.loads(run([vkmoe, "devices", "--json"])):
        if device["name"] == name:
            return device["driver"]
    return ""


def table():
    lines = ["| date | device | model | phase | vkmoe | peer | ratio (least to most) |", "|---|---|---|---|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text())
        for result in record["results"]:
            for phase, tokens in (("prefill", record["prompt_tokens"]), ("decode", record["decoded_tokens"])):
                own, peer = (statistics.median(r[who][phase] for r in result["rounds"]) for who in ("vkmoe", "peer"))
                ratio = result["ratios"][phase]
                lines.append(f"| [{record['date'][:10]}](results/{path.name}) | {record['device']} | {result['model']} "
                             f"| {phase} of {tokens} | {own:.3g} tokens/s | {peer:.3g} tokens/s "
                             f"| {ratio['median']:.1f} ({ratio['least']:.1f} to {ratio['most']:.1f}) |")
    text = README.read_text()
    before, rest = text.split(BEGIN)
    README.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--peer")
    parser.add_argument("--vkmoe", default=ROOT / "build" / "vkmoe")
    parser.add_argument("--device", default="")
    parser.add_argument("--peer-device", default="Vulkan0")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", help="of the record (default: the date)")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        return table()
    if not args.peer or not args.models or args.rounds < 1:
        parser.error("--peer and at least one model are needed, and at least one round")
    commit = git("rev-parse", "HEAD") + ("-changed" if git("status", "--porcelain", "--untracked-files=no") else "")
    results, ours, theirs = [], {}, {}
    for model in args.models:
        result, ours, theirs = compare(args, model)
        results.append(result)
        for phase, ratio in result["ratios"].items():
            print(f"{result['model']} {phase}: {ratio['median']:.2f} times the peer's speed "
                  f"({ratio['least']:.2f} to {ratio['most']:.2f})", flush=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    record = {"date": now.isoformat(timespec="seconds"), "device": ours["device"],
              "driver": driver_of(args.vkmoe, ours["device"]), "peer_device": theirs.get("gpu_info", ""),
              "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
              "vkmoe": {"version": run([args.vkmoe, "--version"]).strip(), "commit": commit},
              "peer": {"name": "llama.cpp", "build": theirs.get("build_number"), "commit": theirs.get("build_commit")},
              "prompt_tokens": args.prompt, "decoded_tokens": args.tokens, "results": results}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{args.name or now.date()}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n")
    part.replace(path)
    table()
    print(f"{path}: written")


if __name__ == "__main__":
    main()
