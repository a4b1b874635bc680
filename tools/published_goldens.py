#!/usr/bin/env python3
"""Golden models in the form in which gpt-oss and Llama 4 are published: gpt_oss_mxfp4, whose experts are MXFP4 blocks and
scales (its logits are those of the decoded weights), and llama4_published, whose attention has the sizes that llama.cpp takes
for granted. Needs safetensors, torch and transformers.
usage: published_goldens.py OUT_FOLDER
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

COMMON = dict(vocab_size=512, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=32,
              num_local_experts=4, max_position_embeddings=512, bos_token_id=0, eos_token_id=1, pad_token_id=None)
E2M1 = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])


def fill(model, random):
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=random)
            if p.ndim == 1:
                p.copy_(0.1 * noise + (p if name.endswith("norm.weight") else 0))
            else:
                p.copy_(noise * (0.5 if "router" in name else p.shape[-1] ** -0.5))


def save(model, folder, random):
    model.save_pretrained(folder)
    ids = torch.randint(2, COMMON["vocab_size"], (1, 48), generator=random)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0].float()
    save_file({"input_ids": ids[0].contiguous(), "logits": logits.contiguous()}, f"{folder}/golden.safetensors")


def to_mxfp4(weight):
    """(.., k) -> blocks (.., k / 32, 16) u8, scales (.., k / 32) u8, and the values that they stand for."""
    blocks = weight.reshape(*weight.shape[:-1], -1, 32)
    exponent = torch.floor(torch.log2(blocks.abs().amax(-1).clamp(min=1e-30))) - 2
    scale = torch.exp2(exponent)[..., None]
    index = ((blocks / scale)[..., None] - E2M1).abs().argmin(-1)
    packed = (index[..., 0::2] | (index[..., 1::2] << 4)).to(torch.uint8)
    return packed.contiguous(), (exponent + 127).to(torch.uint8).contiguous(), (E2M1[index] * scale).reshape(weight.shape)


def gpt_oss(folder):
    random = torch.Generator().manual_seed(111)
    rope = dict(rope_type="yarn", rope_theta=150000.0, factor=32.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                original_max_position_embeddings=16)
    config = transformers.GptOssConfig(**COMMON, num_hidden_layers=2, num_experts_per_tok=2, sliding_window=12,
                                       layer_types=["sliding_attention", "full_attention"], rope_parameters=rope)
    config._attn_implementation = "eager"
    model = transformers.GptOssForCausalLM(config).float().eval()
    fill(model, random)
    packed = {}
    with torch.no_grad():
        for i, layer in enumerate(model.model.layers):
            for name in ("gate_up_proj", "down_proj"):
                weight = getattr(layer.mlp.experts, name)
                blocks, scales, decoded = to_mxfp4(2 * weight.transpose(1, 2))
                weight.copy_(decoded.transpose(1, 2))
                packed[f"model.layers.{i}.mlp.experts.{name}_blocks"] = blocks
                packed[f"model.layers.{i}.mlp.experts.{name}_scales"] = scales
    save(model, folder, random)
    tensors = load_file(f"{folder}/model.safetensors")
    kept = {name: t for name, t in tensors.items() if not name.endswith(("gate_up_proj", "down_proj"))}
    save_file(kept | packed, f"{folder}/model.safetensors", metadata={"format": "pt"})
    with open(f"{folder}/config.json") as file:
        config = json.load(file)
    config["quantization_config"] = {"quant_method": "mxfp4"}
    with open(f"{folder}/config.json", "w") as file:
        json.dump(config, file, indent=2)


def llama4(folder):
    random = torch.Generator().manual_seed(112)
    rope = dict(rope_type="llama3", rope_theta=500000.0, factor=16.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=32)
    config = transformers.Llama4TextConfig(**COMMON, num_hidden_layers=4, num_experts_per_tok=1, intermediate_size_mlp=48,
                                           interleave_moe_layer_step=2, use_qk_norm=True, rope_parameters=rope)
    config._attn_implementation = "eager"
    model = transformers.Llama4ForCausalLM(config).float().eval()
    fill(model, random)
    save(model, folder, random)


torch.manual_seed(1)
gpt_oss(os.path.join(sys.argv[1], "gpt_oss_mxfp4"))
llama4(os.path.join(sys.argv[1], "llama4_published"))
