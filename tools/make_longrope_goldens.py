#!/usr/bin/env python3
"""Writes golden-short.safetensors and golden-long.safetensors beside a tiny Phi-3.5-MoE: transformers' logits with LongRoPE.

transformers 5 computes the short factors at any length, so those of a long context come from a model whose short factors
are the long ones. tests/moe/longrope_test.cpp sets the same rope_parameters. Usage: make_longrope_goldens.py FOLDER
"""
import sys

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

SHORT = {"factor": [1.0 + i / 8 for i in range(8)], "mscale": 1.1}
LONG = {"factor": [2.0 + i for i in range(8)], "mscale": 1.3}


def logits(folder, ids, rule):
    config = AutoConfig.from_pretrained(folder)
    config.rope_parameters = {"rope_type": "longrope", "rope_theta": 1000000.0, "original_max_position_embeddings": 64,
                              "short_factor": rule["factor"], "long_factor": rule["factor"],
                              "short_mscale": rule["mscale"], "long_mscale": rule["mscale"]}
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor(ids)[None]).logits[0].numpy()


def main():
    folder = sys.argv[1]
    ids = load_file(f"{folder}/golden.safetensors")["input_ids"]
    for name, rule in [("short", SHORT), ("long", LONG)]:
        save_file({"input_ids": ids.astype(np.int64), "logits": logits(folder, ids, rule)}, f"{folder}/golden-{name}.safetensors")


if __name__ == "__main__":
    main()
