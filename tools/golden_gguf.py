#!/usr/bin/env python3
"""Makes a GGUF of a golden by llama.cpp's convert_hf_to_gguf.py. Random goldens carry a tokenizer that the converter does
not know, and transformers writes some keys otherwise than the published models; both are put right in a copy.

usage: golden_gguf.py LLAMA_CPP GOLDEN_FOLDER OUT.gguf [converter's options; default --outtype f32]
"""
import json
import os
import runpy
import sys
import tempfile


def as_published(config):
    """The spelling of the published model of the same family."""
    family = config["model_type"]
    if family == "phimoe":
        config["architectures"] = ["PhiMoEForCausalLM"]
        config["original_max_position_embeddings"] = config["max_position_embeddings"]
    if family == "hunyuan_v1_moe":  # lists by layer
        layers = config["num_hidden_layers"]
        config["moe_intermediate_size"] = [config["intermediate_size"]] * layers
        config["num_shared_expert"] = [1] * layers
        if isinstance(config["moe_topk"], int):
            config["moe_topk"] = [config["moe_topk"]] * layers
    if family in ("deepseek_v3", "minimax_m2"):
        config["scoring_func"] = "sigmoid"
    if family == "minimax_m2":
        rope = config.get("rope_parameters") or {}
        config.setdefault("rotary_dim", int(config["head_dim"] * rope.get("partial_rotary_factor", 1)))
    return config


def main():
    source, golden, out, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for name in os.listdir(golden):
            if name not in ("config.json", "golden.safetensors") and not name.endswith(".gguf"):
                os.symlink(os.path.join(os.path.abspath(golden), name), os.path.join(folder, name))
        with open(os.path.join(golden, "config.json")) as file:
            config = as_published(json.load(file))
        family = config["model_type"]
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
        sys.path[:0] = [source, os.path.join(source, "gguf-py")]
        import conversion
        converter = conversion.get_model_class(config["architectures"][0])
        converter.set_vocab = lambda self: self._set_vocab_gpt2()
        converter.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
        sys.argv = ["convert_hf_to_gguf.py", folder, "--model-name", family, "--outfile", out,
                    *(options or ["--outtype", "f32"])]
        runpy.run_path(os.path.join(source, "convert_hf_to_gguf.py"), run_name="__main__")


main()
