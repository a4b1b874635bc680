"""Writes what transformers computes for the encoder-decoder goldens beyond one forward pass, for tests.

usage: encoder_decoder_goldens.py FAMILY_DIR OUT.safetensors

FAMILY_DIR holds a model and golden.safetensors (input_ids, decoder_input_ids). Written, by what is decoded:
  steps (D, vocab) f32          decoder_input_ids one by one with a cache, as generate() feeds them
  greedy (24,) i64              what generate() makes of input_ids
  variant (D, vocab) f32        all at once under the settings of `variants` below
  padded_* (D, vocab) f32, ids  all at once with padding ids among both inputs, without a mask
"""
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSeq2SeqLM

variants = {'nllb-moe': dict(batch_prioritized_routing=True, normalize_router_prob_before_dropping=True,
                             moe_eval_capacity_token_fraction=0.3),
            'switch_transformers': dict(expert_capacity=9)}


def main(folder, out):
    torch.set_num_threads(1)

    def load(**changes):
        config = AutoConfig.from_pretrained(folder, **changes)
        return AutoModelForSeq2SeqLM.from_pretrained(folder, config=config, attn_implementation='eager').eval()

    model, golden, made = load(), load_file(f'{folder}/golden.safetensors'), {}
    ids, decoder = golden['input_ids'][None], golden['decoder_input_ids'][None]
    with torch.no_grad():
        encoded, cache, rows = model.get_encoder()(input_ids=ids), None, []
        for t in range(decoder.shape[1]):
            step = model(encoder_outputs=encoded, decoder_input_ids=decoder[:, t:t + 1], past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            rows.append(step.logits[0, 0])
        made['steps'] = torch.stack(rows)
        made['greedy'] = model.generate(input_ids=ids, max_new_tokens=24, min_new_tokens=24, do_sample=False,
                                        num_beams=1)[0, 1:].contiguous()
        made['variant'] = load(**variants[model.config.model_type])(input_ids=ids, decoder_input_ids=decoder).logits[0]
        pad = model.config.pad_token_id
        padded, padded_decoder = ids.clone(), decoder.clone()
        padded[0, [3, 4, 40]] = pad
        padded_decoder[0, [2, 9]] = pad
        made['padded_input_ids'], made['padded_decoder_input_ids'] = padded[0].contiguous(), padded_decoder[0].contiguous()
        made['padded_logits'] = model(input_ids=padded, decoder_input_ids=padded_decoder).logits[0]
    save_file(made, out)


main(*sys.argv[1:])
