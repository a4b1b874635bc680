#!/usr/bin/env python3
"""Logits of transformers for tests/data/goldens' weights under other configurations, for tests/moe/variant_test.cpp.

usage: make_variant_goldens.py GOLDENS_DIR        (needs torch, transformers, safetensors)
Writes GOLDENS_DIR/FAMILY/golden-VARIANT.safetensors: input_ids and logits. The test changes the same values.
"""
import os
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

YARN = dict(rope_type='yarn', rope_theta=10000.0, factor=40.0, beta_fast=32.0, beta_slow=1.0, mscale=0.707,
            mscale_all_dim=0.707, original_max_position_embeddings=16)
GROUPS = dict(n_group=4, topk_group=2)
# family, variant, what changes in config.json, what is added to the selection biases
VARIANTS = [
    ('dots1', 'groups', GROUPS, -1.5),
    ('glm4_moe', 'groups', GROUPS, -1.5),
    ('deepseek_v3', 'groups', dict(rope_interleave=False, rope_parameters=dict(rope_type='default', rope_theta=500.0)), -1.5),
    ('deepseek_v2', 'yarn', dict(rope_parameters=YARN, rms_norm_eps=1e-3), 0.0),
    ('deepseek_v2_lite', 'linear', dict(rope_parameters=dict(rope_type='linear', rope_theta=10000.0, factor=4.0)), 0.0),
]

for family, variant, changes, bias in VARIANTS:
    folder = os.path.join(sys.argv[1], family)
    config = transformers.AutoConfig.from_pretrained(folder, **changes)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if 'correction_bias' in name:
                buffer += bias
        ids = load_file(os.path.join(folder, 'golden.safetensors'))['input_ids']
        logits = model(input_ids=ids[None], use_cache=False).logits[0].float().contiguous()
    plain = load_file(os.path.join(folder, 'golden.safetensors'))['logits']
    save_file({'input_ids': ids, 'logits': logits}, os.path.join(folder, f'golden-{variant}.safetensors'))
    print(family, variant, 'differs by', float((logits - plain).square().mean().sqrt()), config.to_dict().get('rope_parameters'))
