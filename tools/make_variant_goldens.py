#!/usr/bin/env python3
"""Logits of transformers for tests/data/goldens' weights under other configurations, for tests/moe/variant_test.cpp.

usage: make_variant_goldens.py GOLDENS_DIR [VARIANT ...]        (needs torch, transformers, safetensors)
Writes GOLDENS_DIR/FAMILY/golden-VARIANT.safetensors: input_ids, logits and the tensors that the golden's files lack. The
test changes the same values.
"""
import os
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

YARN = dict(rope_type='yarn', rope_theta=10000.0, factor=40.0, beta_fast=32.0, beta_slow=1.0, mscale=0.707,
            mscale_all_dim=0.707, original_max_position_embeddings=16)
GROUPS = dict(n_group=4, topk_group=2)
WINDOWS = dict(layer_types=['sliding_attention', 'full_attention', 'sliding_attention'], sliding_window=5)
BIASED = dict(attention_bias=True)
# family, variant, what changes in config.json, what is added to the selection biases
VARIANTS = [
    ('dots1', 'groups', GROUPS, -1.5),
    ('glm4_moe', 'groups', GROUPS, -1.5),
    ('deepseek_v3', 'groups', dict(rope_interleave=False, rope_parameters=dict(rope_type='default', rope_theta=500.0)), -1.5),
    ('deepseek_v2', 'yarn', dict(rope_parameters=YARN, rms_norm_eps=1e-3), 0.0),
    ('deepseek_v2_lite', 'linear', dict(rope_parameters=dict(rope_type='linear', rope_theta=10000.0, factor=4.0)), 0.0),
    ('dots1', 'biased', dict(BIASED, **WINDOWS), 0.0),
    ('olmoe', 'biased', BIASED, 0.0),
    ('hunyuan_v1_moe', 'biased', BIASED, 0.0),
    ('granitemoeshared', 'biased', BIASED, 0.0),
    ('qwen3_moe', 'biased', dict(BIASED, mlp_only_layers=[1], intermediate_size=40), 0.0),
    ('qwen2_moe', 'windows', dict(WINDOWS, use_sliding_window=True, mlp_only_layers=[0], intermediate_size=40), 0.0),
    ('deepseek_v2', 'biased', dict(BIASED, mlp_bias=True), 0.0),
    ('deepseek_v2_lite', 'biased', BIASED, 0.0),
    ('ernie4_5_moe', 'biased', dict(use_bias=True, tie_word_embeddings=True), 0.0),
]
only = sys.argv[2:]


def name_new_tensors(model, folder):
    """Fills the parameters that the folder lacks, and returns them by the names that they have in files."""
    stored = load_file(os.path.join(folder, 'model.safetensors'))
    with tempfile.TemporaryDirectory() as written:
        model.save_pretrained(written)
        names = load_file(os.path.join(written, 'model.safetensors')).keys() - stored.keys()
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        made = {name: model.get_parameter(name) for name in sorted(names)}
        for parameter in made.values():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=random))
    return {name: parameter.detach().clone() for name, parameter in made.items()}


for family, variant, changes, bias in VARIANTS:
    if only and variant not in only:
        continue
    folder = os.path.join(sys.argv[1], family)
    config = transformers.AutoConfig.from_pretrained(folder, **changes)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    if changes.get('tie_word_embeddings'):  # transformers does not where the folder has a head; the test takes it away
        model.lm_head.weight = model.get_input_embeddings().weight
    made = name_new_tensors(model, folder)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if 'correction_bias' in name:
                buffer += bias
        ids = load_file(os.path.join(folder, 'golden.safetensors'))['input_ids']
        ids = ids[:20] if made else ids
        logits = model(input_ids=ids[None], use_cache=False).logits[0].float().contiguous()
    plain = load_file(os.path.join(folder, 'golden.safetensors'))['logits']
    save_file({'input_ids': ids.clone(), 'logits': logits, **made}, os.path.join(folder, f'golden-{variant}.safetensors'))
    print(family, variant, 'differs by', float((logits - plain[:len(ids)]).square().mean().sqrt()), config.to_dict().get('rope_parameters'))
