#!/usr/bin/env python3
"""Golden logits of a GGUF: its weights, decoded by gguf-py, in transformers' own model of the architecture, in float32.

Needs gguf, numpy, safetensors, torch and transformers. FOLDER holds config.json and golden.safetensors (for input_ids).
usage: quantized_goldens.py FOLDER MODEL.gguf OUT.safetensors
"""
import sys

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

ATTENTION = {"attn_q": "q_proj", "attn_k": "k_proj", "attn_v": "v_proj", "attn_output": "o_proj",
             "attn_q_norm": "q_norm", "attn_k_norm": "k_norm"}


def unpermute(weight, heads):
    """llama.cpp's converter interleaves the halves of each head of llama's Q and K; this turns that round."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def load(folder, path):
    """A transformers model with the GGUF's weights."""
    config = transformers.AutoConfig.from_pretrained(folder)
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name.removesuffix(".weight"): gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
               for tensor in reader.tensors}
    if reader.fields["general.architecture"].contents() == "llama":
        for name in tensors:
            if name.endswith(".attn_q"):
                tensors[name] = unpermute(tensors[name], config.num_attention_heads)
            elif name.endswith(".attn_k"):
                tensors[name] = unpermute(tensors[name], config.num_key_value_heads)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    state = {"model.embed_tokens.weight": tensors["token_embd"], "model.norm.weight": tensors["output_norm"],
             "lm_head.weight": tensors.get("output", tensors["token_embd"])}
    for layer in range(config.num_hidden_layers):
        ours, theirs = f"blk.{layer}.", f"model.layers.{layer}."
        state[theirs + "input_layernorm.weight"] = tensors[ours + "attn_norm"]
        state[theirs + "post_attention_layernorm.weight"] = tensors[ours + "ffn_norm"]
        for mine, other in ATTENTION.items():
            if ours + mine in tensors:
                state[f"{theirs}self_attn.{other}.weight"] = tensors[ours + mine]
        state[theirs + "mlp.gate.weight"] = tensors[ours + "ffn_gate_inp"]
        gate, up = tensors[ours + "ffn_gate_exps"], tensors[ours + "ffn_up_exps"]
        state[theirs + "mlp.experts.gate_up_proj"] = np.concatenate([gate, up], axis=1)
        state[theirs + "mlp.experts.down_proj"] = tensors[ours + "ffn_down_exps"]
    model.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()})
    return model


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    folder, path, out = sys.argv[1:]
    model = load(folder, path)
    ids = load_file(folder + "/golden.safetensors")["input_ids"]
    with torch.no_grad():
        logits = model(ids[None]).logits[0]
    save_file({"input_ids": ids, "logits": logits.contiguous()}, out)
    print(out, tuple(logits.shape))


if __name__ == "__main__":
    main()
