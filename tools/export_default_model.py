#!/usr/bin/env python3
"""Writes the default model (a Hugging Face Qwen3-MoE folder) as one GGUF: Q8_0 matrices, F32 router and norms.

Keys and tensor names are those of llama.cpp's converter. Needs the Python packages gguf, numpy, safetensors and torch.
usage: export_default_model.py MODEL_DIR OUT.gguf
"""
import json
import os
import sys

import gguf
import numpy as np
import torch
from safetensors import safe_open

ARCH = "qwen3moe"
LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate": "ffn_gate_inp",
}
KEPT_F32 = ("_norm.weight", "ffn_gate_inp.weight")
DESCRIPTION = (
    "A small Qwen3-MoE trained from scratch on the King James Bible, WordNet 3.0 as questions and answers, and the "
    "modules of Python 3.11's standard library. It defines words in WordNet's manner and writes mock scripture and mock "
    "Python; it knows nothing else."
)
LICENSE_NAME = "WordNet 3.0 licence (notice in models/README.md), PSF licence for the Python library, Bible text public domain"


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def write_general(out, config):
    out.add_type(gguf.GGUFType.MODEL)
    out.add_name("vkmoe default")
    out.add_description(DESCRIPTION)
    out.add_license("other")
    out.add_license_name(LICENSE_NAME)
    out.add_languages(["en"])
    out.add_tags(["text-generation"])
    out.add_size_label("16x3.4M")
    out.add_block_count(config["num_hidden_layers"])
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_head_count(config["num_attention_heads"])
    out.add_head_count_kv(config["num_key_value_heads"])
    out.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])
    out.add_expert_count(config["num_local_experts"])
    out.add_expert_used_count(config["num_experts_per_tok"])
    out.add_key_length(config["head_dim"])
    out.add_value_length(config["head_dim"])
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    out.add_expert_feed_forward_length(config["moe_intermediate_size"])
    out.add_quantization_version(gguf.GGML_QUANT_VERSION)


def write_tokenizer(out, folder, config):
    tokenizer, settings = read_json(folder, "tokenizer.json"), read_json(folder, "tokenizer_config.json")
    vocab = {id: text for text, id in tokenizer["model"]["vocab"].items()}
    control = set()
    for added in tokenizer["added_tokens"]:
        vocab[added["id"]] = added["content"]
        if added["special"]:
            control.add(added["id"])
    if sorted(vocab) != list(range(config["vocab_size"])):
        sys.exit("the tokenizer's ids are not exactly 0..vocab_size-1")
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("qwen2")
    out.add_token_list([vocab[id] for id in range(len(vocab))])
    out.add_token_types([gguf.TokenType.CONTROL if id in control else gguf.TokenType.NORMAL for id in range(len(vocab))])
    merges = tokenizer["model"]["merges"]
    out.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    out.add_eos_token_id(config["eos_token_id"])
    out.add_pad_token_id(config["pad_token_id"])
    out.add_bos_token_id(config["bos_token_id"])
    out.add_add_bos_token(False)
    out.add_chat_template(settings["chat_template"])


def model_tensors(folder, config):
    with safe_open(os.path.join(folder, "model.safetensors"), "pt") as file:
        def read(name):
            return file.get_tensor(name).to(torch.float32).numpy()

        yield "token_embd.weight", read("model.embed_tokens.weight")
        for layer in range(config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            for theirs, ours in LAYER_TENSORS.items():
                yield f"blk.{layer}.{ours}.weight", read(f"{prefix}{theirs}.weight")
            for part in ("gate", "up", "down"):
                experts = [read(f"{prefix}mlp.experts.{expert}.{part}_proj.weight")
                           for expert in range(config["num_local_experts"])]
                yield f"blk.{layer}.ffn_{part}_exps.weight", np.stack(experts)
        yield "output_norm.weight", read("model.norm.weight")
        if not config["tie_word_embeddings"]:
            yield "output.weight", read("lm_head.weight")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, path = sys.argv[1:]
    config = read_json(folder, "config.json")
    if config["model_type"] != "qwen3_moe":
        sys.exit(f"expected a qwen3_moe model, found {config['model_type']}")
    out = gguf.GGUFWriter(path, ARCH)
    write_general(out, config)
    write_tokenizer(out, folder, config)
    for name, values in model_tensors(folder, config):
        if name.endswith(KEPT_F32):
            out.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            out.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    print(f"{path}: {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
