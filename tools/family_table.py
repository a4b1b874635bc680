#!/usr/bin/env python3
"""Normalised mean square error of vkmoe's logits on goldens (folders with golden.safetensors), as safetensors and as GGUF,
in one pass, token by token and on the CPU reference, beside another program's on the same GGUF. Needs numpy, safetensors.

usage: family_table.py --library libvkmoe.so [--ggufs FOLDER] [--icd NAME=DRIVER.json ...] [--peer PROGRAM] [--json]
                       GOLDEN_FOLDER...
  --ggufs   FAMILY.gguf of each golden lies there (default: model-f32.gguf inside of the golden, where there is one)
  --icd     runs on each of these Vulkan drivers (default: the one that the loader finds)
  --peer    called as PROGRAM MODEL.gguf IDS.txt OUT.f32, writes (tokens, vocabulary) float32
"""
import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile

import numpy
from safetensors.numpy import load_file


def nmse(found, expected):
    found, expected = found.astype(numpy.float64), expected.astype(numpy.float64)
    return float(((found - expected) ** 2).sum() / ((expected - expected.mean()) ** 2).sum())


class Options(ctypes.Structure):
    """vkmoe_load_options and vkmoe_session_options of vkmoe.h."""
    class Load(ctypes.Structure):
        _fields_ = [("size_bytes", ctypes.c_size_t), ("progress", ctypes.c_void_p), ("user", ctypes.c_void_p),
                    ("reference", ctypes.c_int)]

    class Session(ctypes.Structure):
        _fields_ = [("size_bytes", ctypes.c_size_t), ("context_tokens", ctypes.c_uint32), ("chunk_tokens", ctypes.c_uint32),
                    ("profile", ctypes.c_int)]


class Library:
    def __init__(self, path):
        self.vkmoe = ctypes.CDLL(path)
        self.vkmoe.vkmoe_last_error.restype = ctypes.c_char_p
        self.device = ctypes.c_void_p()
        self.check(self.vkmoe.vkmoe_device_open(None, ctypes.byref(self.device)))

    def check(self, status):
        if status:
            raise RuntimeError(self.vkmoe.vkmoe_last_error().decode())

    def errors(self, path, golden):
        """Of one pass, of single tokens (both on the device), and of the CPU reference."""
        ways = {"pass": None, "single": 1, "reference": None}
        if "decoder_input_ids" in golden and "steps" not in golden:  # capacities drop other assignments then
            del ways["single"]
        return {name: self.error(path, golden, piece, name == "reference") for name, piece in ways.items()}

    def error(self, path, golden, piece, reference):
        vkmoe, model, session = self.vkmoe, ctypes.c_void_p(), ctypes.c_void_p()
        load, options = Options.Load(), Options.Session()
        vkmoe.vkmoe_load_options_init(ctypes.byref(load))
        vkmoe.vkmoe_session_options_init(ctypes.byref(options))
        load.reference, options.context_tokens = reference, len(golden["input_ids"])
        try:
            self.check(vkmoe.vkmoe_model_load(self.device, path.encode(), ctypes.byref(load), ctypes.byref(model)))
            self.check(vkmoe.vkmoe_session_open(model, ctypes.byref(options), ctypes.byref(session)))
            ids = numpy.ascontiguousarray(golden["input_ids"], numpy.int32)
            if "decoder_input_ids" in golden:
                self.check(vkmoe.vkmoe_session_encode(session, ids.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(ids))))
                ids = numpy.ascontiguousarray(golden["decoder_input_ids"], numpy.int32)
            logits = numpy.zeros((len(ids), vkmoe.vkmoe_model_vocab_size(model)), numpy.float32)
            for at in range(0, len(ids), piece or len(ids)):
                part, out = ids[at:at + (piece or len(ids))], logits[at:]
                self.check(vkmoe.vkmoe_session_feed_logits(session, part.ctypes.data_as(ctypes.c_void_p),
                                                           ctypes.c_size_t(len(part)), out.ctypes.data_as(ctypes.c_void_p)))
            return nmse(logits, golden["steps" if "decoder_input_ids" in golden and piece else "logits"])
        except RuntimeError as error:
            return str(error)
        finally:
            vkmoe.vkmoe_session_close(session)
            vkmoe.vkmoe_model_close(model)


def peer_error(program, gguf, golden):
    with tempfile.TemporaryDirectory() as folder:
        ids, out = os.path.join(folder, "ids"), os.path.join(folder, "logits")
        with open(ids, "w") as file:
            file.write(" ".join(map(str, golden["input_ids"])))
        run = subprocess.run([program, gguf, ids, out], capture_output=True, text=True)
        if run.returncode or not os.path.exists(out):
            return (run.stdout + run.stderr).strip()[-200:] or f"exit {run.returncode}"
        found = numpy.fromfile(out, numpy.float32)
        return nmse(found.reshape(golden["logits"].shape), golden["logits"])


def measure(args):
    """{family: {form: errors}} on the driver of the environment."""
    library, table = Library(args.library), {}
    for folder in args.goldens:
        golden, family = load_file(os.path.join(folder, "golden.safetensors")), os.path.basename(folder.rstrip("/"))
        more = os.path.join(folder, "golden-more.safetensors")
        if os.path.exists(more):  # of an encoder-decoder model
            golden["steps"] = load_file(more)["steps"]
        gguf = os.path.join(args.ggufs, family + ".gguf") if args.ggufs else os.path.join(folder, "model-f32.gguf")
        table[family] = {"safetensors": library.errors(folder, golden)}
        if os.path.exists(gguf):
            table[family]["GGUF"] = library.errors(gguf, golden)
            if args.peer:
                table[family]["peer"] = {"pass": peer_error(args.peer, gguf, golden)}
    return table


def short(error):
    return "–" if error is None else f"{error:.1e}" if isinstance(error, float) else error.replace("|", "/")


def print_markdown(tables, peer):
    rows = [(form, driver, way) for form in ("safetensors", "GGUF") for driver in tables for way in ("pass", "single")]
    rows += [(form, next(iter(tables)), "reference") for form in ("safetensors", "GGUF")]
    rows += [("peer", next(iter(tables)), "pass")] if peer else []
    names = [form if form == "peer" else " ".join((form, "reference" if way == "reference" else f"{driver}, {way}"))
             for form, driver, way in rows]
    print("| family |", " | ".join(names), "|\n|---|" + "---|" * len(names))
    for family in next(iter(tables.values())):
        cells = [short(tables[driver][family].get(form, {}).get(way)) for form, driver, way in rows]
        print(f"| {family} |", " | ".join(cells), "|", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--ggufs")
    parser.add_argument("--icd", action="append", default=[])
    parser.add_argument("--peer")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("goldens", nargs="+")
    args = parser.parse_args()
    if not args.icd:
        tables = {"device": measure(args)}
    else:  # a driver is chosen once a process
        tables, peer = {}, args.peer
        for icd in args.icd:
            name, path = icd.split("=", 1)
            command = [sys.executable, __file__, "--library", args.library, "--json", *args.goldens]
            command += ["--ggufs", args.ggufs] if args.ggufs else []
            command += ["--peer", peer] if peer and not tables else []
            run = subprocess.run(command, env=dict(os.environ, VK_ICD_FILENAMES=path), capture_output=True, text=True)
            if run.returncode:
                sys.exit(run.stderr)
            tables[name] = json.loads(run.stdout)["device"]
    if args.json:
        print(json.dumps(tables, indent=1))
    else:
        print_markdown(tables, args.peer)


main()
