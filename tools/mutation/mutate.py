#!/usr/bin/env python3
"""Applies small wrong edits (mutations.txt) to kernels and their CPU reference, one at a time, and counts how many the quick
set of vkmoe-conformance catches.

usage: mutate.py --work DIR [--from N] [--to N] [--list] [-- CMAKE OPTIONS]
  DIR gets a copy of the tree, a build of the kernels that the edits touch, and results.jsonl: a run may be cut into parts
  and goes on where it stopped. The driver is chosen by the environment (VK_ICD_FILENAMES).
  A mutation is caught when a case fails; of the quick set only the cases that the list names for the file are run.
Exit code 0 when at least 95 % are caught, 1 when not, 2 when something fails without any mutation.
"""
import argparse, json, os, shutil, subprocess, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FORMATS = "f32;f16;q8_0;q4_k;q6_k"  # those whose kernels the list edits


def read_mutations():
    """[(file, filters, right, wrong)]; fails where an edit does not apply."""
    mutations, file, filters, right = [], None, [], None
    for line in (HERE / "mutations.txt").read_text().splitlines():
        kind, text = line[:1], line[2:].replace("\\n", "\n")
        if kind == "@":
            file, *filters = text.split()
        elif kind == "-":
            right = text
        elif kind == "+":
            mutations.append((file, filters, right, text))
    stale = [f"{file}: '{right}' stands there {count} times, not once" for file, _, right, _ in mutations
             if (count := (ROOT / file).read_text().count(right)) != 1]
    if stale:
        raise SystemExit("mutations.txt is out of date:\n" + "\n".join(stale))
    return mutations


def shown(mutation):
    file, _, right, wrong = mutation
    return f"{file}: {right}  ->  {wrong or '(nothing)'}".replace("\n", "\\n")


def build(work):
    """Whether it was built; a mutation that does not compile tells nothing about the cases."""
    with open(work / "build.log", "w") as log:
        command = ["cmake", "--build", work / "build", "--target", "vkmoe-conformance"]
        return subprocess.run(command, stdout=log, stderr=log).returncode == 0


def first_failure(work, filters, timeout):
    """The name of the first case that fails, or None. A hang and a crash are failures, too."""
    for name in filters:
        command = ["timeout", str(timeout), "./vkmoe-conformance", "--quick", "--filter", name]
        process = subprocess.Popen(command, cwd=work / "build", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout:
            if line.startswith("FAILED"):
                process.kill()
                process.wait()
                return line.split(maxsplit=1)[1].strip()
        code = process.wait()
        if code != 0:
            return f"{name}: {'hangs' if code == 124 else f'exit code {code}'}"
    return None


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
    command = ["cmake", *generator, "-S", work / "tree", "-B", work / "build", f"-DVKMOE_FORMATS={FORMATS}", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def try_mutation(work, mutation, timeout):
    file, filters, right, wrong = mutation
    path = work / "tree" / file
    text = path.read_text()
    try:
        path.write_text(text.replace(right, wrong))
        if not build(work):
            return "not built", None
        case = first_failure(work, filters, timeout)
        return ("caught", case) if case else ("survived", None)
    finally:
        path.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--to", dest="end", type=int, default=1 << 30)
    parser.add_argument("--timeout", type=int, default=600, help="seconds for the cases of one filter")
    parser.add_argument("--list", action="store_true", help="print the mutations and stop")
    parser.add_argument("cmake", nargs="*")
    arguments = parser.parse_args()
    mutations = read_mutations()
    if arguments.list or not arguments.work:
        for number, mutation in enumerate(mutations):
            print(f"{number:3} {shown(mutation)}")
        return 0
    work = arguments.work.resolve()
    prepare(work, arguments.cmake)
    chosen = list(enumerate(mutations))[arguments.first:arguments.end]
    if not build(work):
        print(f"the build fails without a mutation; see {work}/build.log", file=sys.stderr)
        return 2
    if case := first_failure(work, sorted({f for _, m in chosen for f in m[1]}), arguments.timeout):
        print(f"a case fails without a mutation: {case}", file=sys.stderr)
        return 2
    log = work / "results.jsonl"
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {r["mutation"]: r for r in results if r["result"] == "caught"}
    for number, mutation in chosen:
        name = shown(mutation)
        if name not in known:
            result, case = try_mutation(work, mutation, arguments.timeout)
            known[name] = {"mutation": name, "result": result, "case": case}
            with open(log, "a") as out:
                out.write(json.dumps(known[name]) + "\n")
        print(f"{number:3} {known[name]['result']}: {name}" + (f"  [{known[name]['case']}]" if known[name]["case"] else ""), flush=True)
    ran = [known[shown(m)]["result"] for _, m in chosen]
    caught, counted = ran.count("caught"), ran.count("caught") + ran.count("survived")
    print(f"{caught} of {counted} mutations caught" + (f", {ran.count('not built')} do not compile" if "not built" in ran else ""))
    return 0 if caught >= 0.95 * counted else 1


if __name__ == "__main__":
    sys.exit(main())
