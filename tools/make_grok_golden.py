#!/usr/bin/env python3
"""Writes tests/data/goldens/grok: a tiny random Grok-1 as a Hugging Face folder and as a GGUF, with its logits.

The forward pass is NumPy in float64, written from the released definition (xai-org/grok-1, model.py): there is no
transformers class. Usage: make_grok_golden.py OUT_FOLDER TOKENIZER_GGUF TOKENIZER_JSON [--odd]
Needs numpy, safetensors and gguf. The GGUF's tokenizer is copied from TOKENIZER_GGUF.
"""
import argparse
import json
import os
import shutil

import gguf
import numpy as np
from safetensors.numpy import save_file

SOFTCAP = 30.0
THETA = 10000.0
EPSILON = 1e-5


def make_weights(c, random):
    def normal(*shape, std):
        return (random.standard_normal(shape) * std).astype(np.float32)

    d, ff, head = c["hidden_size"], c["intermediate_size"], c["hidden_size"] // c["num_attention_heads"]
    kv = c["num_key_value_heads"] * head
    w = {"embedding": normal(c["vocab_size"], d, std=0.01), "final_norm": 1 + normal(d, std=0.1), "layers": []}
    for _ in range(c["num_hidden_layers"]):
        w["layers"].append({
            "norms": [1 + normal(d, std=0.1) for _ in range(4)],
            # Scores of some tens, so that the bound of 30 is felt.
            "q": normal(d, d, std=3 / d**0.5), "k": normal(kv, d, std=3 / d**0.5),
            "v": normal(kv, d, std=1 / d**0.5), "o": normal(d, d, std=1 / d**0.5),
            "router": normal(c["num_experts"], d, std=2 / d**0.5),
            "gate": normal(c["num_experts"], ff, d, std=1 / d**0.5), "up": normal(c["num_experts"], ff, d, std=1 / d**0.5),
            "down": normal(c["num_experts"], d, ff, std=1 / ff**0.5)})
    return w


def rms_norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotate(x):  # (tokens, heads, head): halves are paired
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[0])[:, None] * THETA ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def attention(c, layer, x):
    n, heads, kv_heads = len(x), c["num_attention_heads"], c["num_key_value_heads"]
    q = rotate((x @ layer["q"].T).reshape(n, heads, -1))
    k = rotate((x @ layer["k"].T).reshape(n, kv_heads, -1))
    v = (x @ layer["v"].T).reshape(n, kv_heads, -1)
    group = heads // kv_heads
    out = np.empty_like(q)
    for h in range(heads):
        score = q[:, h] @ k[:, h // group].T * c["attn_output_multiplier"]
        score = SOFTCAP * np.tanh(score / SOFTCAP)
        score[np.triu_indices(n, 1)] = -np.inf
        out[:, h] = softmax(score) @ v[:, h // group]
    return out.reshape(n, -1) @ layer["o"].T


def gelu(x):  # jax.nn.gelu's default: the tanh form
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def experts(c, layer, x):
    probabilities = softmax(x @ layer["router"].T)
    out = np.zeros_like(x)
    for t, p in enumerate(probabilities):
        for e in np.argsort(-p, kind="stable")[: c["num_experts_per_tok"]]:
            hidden = gelu(layer["gate"][e] @ x[t]) * (layer["up"][e] @ x[t])
            out[t] += p[e] * (layer["down"][e] @ hidden)  # not renormalised
    return out


def forward(c, w, ids):
    x = w["embedding"][ids] * c["embedding_multiplier_scale"]
    for layer in w["layers"]:
        before_attention, after_attention, before_experts, after_experts = layer["norms"]
        x = x + rms_norm(attention(c, layer, rms_norm(x, before_attention)), after_attention)
        x = x + rms_norm(experts(c, layer, rms_norm(x, before_experts)), after_experts)
    return rms_norm(x, w["final_norm"]) @ w["embedding"].T * c["output_multiplier_scale"]


def write_folder(out, c, w):
    tensors = {"model.embed_tokens.weight": w["embedding"], "model.norm.scale": w["final_norm"]}
    for i, layer in enumerate(w["layers"]):
        at = f"model.layers.{i}."
        for name, norm in zip(["pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm"], layer["norms"]):
            tensors[f"{at}{name}.scale"] = norm
        for name in "qkvo":
            tensors[f"{at}attn.{name}_proj.weight"] = layer[name]
        tensors[f"{at}moe_block.gate.weight"] = layer["router"]
        for e in range(c["num_experts"]):
            for name, role in [("linear", "gate"), ("linear_v", "up"), ("linear_1", "down")]:
                tensors[f"{at}moe_block.experts.{e}.{name}.weight"] = layer[role][e]
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, f"{out}/model.safetensors", {"format": "pt"})
    with open(f"{out}/config.json", "w") as f:
        json.dump(c, f, indent=2, sort_keys=True)
        f.write("\n")


def write_gguf(path, c, w, tokenizer):
    g = gguf.GGUFWriter(path, "grok")
    g.add_context_length(c["max_position_embeddings"])
    g.add_embedding_length(c["hidden_size"])
    g.add_block_count(c["num_hidden_layers"])
    g.add_feed_forward_length(c["intermediate_size"])
    g.add_head_count(c["num_attention_heads"])
    g.add_head_count_kv(c["num_key_value_heads"])
    g.add_rope_freq_base(THETA)
    g.add_layer_norm_rms_eps(EPSILON)
    g.add_expert_count(c["num_experts"])
    g.add_expert_used_count(c["num_experts_per_tok"])
    g.add_attn_logit_softcapping(SOFTCAP)
    g.add_router_logit_softcapping(SOFTCAP)  # converters write it; the released model has none
    g.add_attn_output_scale(c["attn_output_multiplier"])
    g.add_embedding_scale(c["embedding_multiplier_scale"])
    g.add_logit_scale(c["output_multiplier_scale"])
    for field in gguf.GGUFReader(tokenizer).fields.values():
        if field.name.startswith("tokenizer."):
            g.add_key_value(field.name, field.contents(), field.types[0], field.types[1] if len(field.types) > 1 else None)
    g.add_tensor("token_embd.weight", w["embedding"])
    g.add_tensor("output_norm.weight", w["final_norm"])
    for i, layer in enumerate(w["layers"]):
        names = ["attn_norm", "attn_output_norm", "ffn_norm", "layer_output_norm"]
        matrices = {"attn_q": "q", "attn_k": "k", "attn_v": "v", "attn_output": "o", "ffn_gate_inp": "router",
                    "ffn_gate_exps": "gate", "ffn_up_exps": "up", "ffn_down_exps": "down"}
        for name, norm in zip(names, layer["norms"]):
            g.add_tensor(f"blk.{i}.{name}.weight", norm)
        for name, role in matrices.items():
            g.add_tensor(f"blk.{i}.{name}.weight", layer[role])
    g.write_header_to_file()
    g.write_kv_data_to_file()
    g.write_tensors_to_file()
    g.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("tokenizer_gguf")
    parser.add_argument("tokenizer_json")
    parser.add_argument("--odd", action="store_true", help="other sizes")
    a = parser.parse_args()
    heads, kv_heads, head = (6, 3, 20) if a.odd else (4, 2, 16)
    c = {"architectures": ["Grok1ModelForCausalLM"], "model_type": "grok-1", "vocab_size": 512, "hidden_size": heads * head,
         "intermediate_size": 40 if a.odd else 32, "num_hidden_layers": 2, "num_attention_heads": heads,
         "num_key_value_heads": kv_heads, "max_position_embeddings": 512, "num_experts": 12 if a.odd else 8,
         "num_experts_per_tok": 3 if a.odd else 2, "attn_output_multiplier": head**-0.5, "max_attn_value": SOFTCAP,
         "embedding_multiplier_scale": 78.38367176906169, "output_multiplier_scale": 0.5773502691896257,
         "rms_norm_eps": EPSILON, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 1}
    random = np.random.default_rng(6 if a.odd else 5)
    w = make_weights(c, random)
    ids = random.integers(0, c["vocab_size"], 48)
    wide = {"embedding": w["embedding"].astype(np.float64), "final_norm": w["final_norm"].astype(np.float64),
            "layers": [{k: [n.astype(np.float64) for n in v] if k == "norms" else v.astype(np.float64)
                        for k, v in layer.items()} for layer in w["layers"]]}
    greedy = list(ids[:16])
    for _ in range(24):
        greedy.append(int(forward(c, wide, np.array(greedy))[-1].argmax()))
    os.makedirs(a.out, exist_ok=True)
    write_folder(a.out, c, w)
    write_gguf(f"{a.out}/model-f32.gguf", c, w, a.tokenizer_gguf)
    shutil.copy(a.tokenizer_json, f"{a.out}/tokenizer.json")
    save_file({"input_ids": ids.astype(np.int64), "logits": forward(c, wide, ids).astype(np.float32),
               "greedy": np.array(greedy[16:], np.int64)}, f"{a.out}/golden.safetensors")


if __name__ == "__main__":
    main()
