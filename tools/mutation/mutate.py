#!/usr/bin/env python3
"""Applies small wrong edits to the shaders, one at a time, and counts how many the quick tests catch.

usage: mutate.py --work DIR [--from N] [--to N] [--test COMMAND] [--list] [-- CMAKE OPTIONS]
  DIR gets a copy of the tree, a build and results.jsonl, so a run may be cut into parts and goes on where it stopped.
  COMMAND runs in the build folder; a mutation is caught when it fails. Default: vkmoe-conformance --quick, and without
  that program the tests of the moe room. The driver is chosen by the environment (VK_ICD_FILENAMES).
Exit code 1 when fewer than 95 % of the results are caught, 2 when the tests fail without any mutation.
"""
import argparse, json, os, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def read_mutations():
    mutations, file, old = [], None, None
    for line in (Path(__file__).parent / "mutations.txt").read_text().splitlines():
        kind, text = line[:1], line[2:]
        if kind == "@":
            file = "shaders/" + text
        elif kind == "-":
            old = text
        elif kind == "+":
            mutations.append((file, old, text))
    for file, old, _ in mutations:
        count = (ROOT / file).read_text().count(old)
        if count != 1:
            raise SystemExit(f"{file}: '{old}' stands there {count} times, not once; mutations.txt is out of date")
    return mutations


def build(work, targets):
    """Whether it was built; a mutation that does not compile tells nothing about the tests."""
    log = open(work / "build.log", "w")
    return subprocess.run(["cmake", "--build", work / "build", "--target", *targets], stdout=log, stderr=log).returncode == 0


def passes(work, command, timeout):
    log = open(work / "test.log", "w")
    try:
        return subprocess.run(command, shell=True, cwd=work / "build", stdout=log, stderr=log, timeout=timeout).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def prepare(work, options):
    work.mkdir(parents=True, exist_ok=True)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, tracked):
        source, target = ROOT / name, work / "tree" / name
        if not source.exists() or target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        os.utime(target)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    subprocess.run(["cmake", *generator, "-S", work / "tree", "-B", work / "build", *options], check=True,
                   stdout=subprocess.DEVNULL)


def summary(results, mutations):
    caught = sum(r["result"] == "caught" for r in results.values())
    counted = sum(r["result"] in ("caught", "survived") for r in results.values())
    for number, r in sorted(results.items()):
        if r["result"] != "caught":
            print(f"{r['result']}: {number} {r['file']}: {r['from']}  ->  {r['to']}")
    print(f"{caught} of {counted} mutations caught; {len(mutations)} in the list")
    return counted == 0 or caught >= 0.95 * counted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--to", dest="end", type=int, default=1 << 30)
    parser.add_argument("--test")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds; a test that hangs has caught the mutation")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("cmake", nargs="*")
    arguments = parser.parse_args()
    mutations = read_mutations()
    if arguments.list or not arguments.work:
        for number, (file, old, new) in enumerate(mutations):
            print(f"{number:3} {file}: {old}  ->  {new}")
        return 0
    work = arguments.work.resolve()
    prepare(work, arguments.cmake)
    conformance = (ROOT / "apps/conformance").is_dir()
    targets = ["vkmoe-conformance"] if conformance else ["test_moe"]
    command = arguments.test or ("./vkmoe-conformance --quick" if conformance else "./test_moe")
    if arguments.test:
        targets = ["all"]
    if not build(work, targets) or not passes(work, command, arguments.timeout):
        print("the build or the tests fail without a mutation; see build.log and test.log in the work folder", file=sys.stderr)
        return 2
    log = work / "results.jsonl"
    results = {r["number"]: r for r in map(json.loads, log.read_text().splitlines())} if log.exists() else {}
    for number, (file, old, new) in list(enumerate(mutations))[arguments.first:arguments.end]:
        known = results.get(number)
        if known and (known["file"], known["from"], known["to"]) == (file, old, new):
            continue
        path, right = work / "tree" / file, (work / "tree" / file).read_text()
        try:
            path.write_text(right.replace(old, new))
            built = build(work, targets)
            result = "not built" if not built else "survived" if passes(work, command, arguments.timeout) else "caught"
        finally:
            path.write_text(right)
        results[number] = {"number": number, "file": file, "from": old, "to": new, "result": result}
        with open(log, "a") as out:
            out.write(json.dumps(results[number]) + "\n")
        print(f"{number:3} {result}: {file}: {old}  ->  {new}", flush=True)
    return 0 if summary(results, mutations) else 1


if __name__ == "__main__":
    sys.exit(main())
