#!/usr/bin/env python3
"""Writes cases.json: texts, and the ids that Hugging Face's `tokenizers` gives for variants of a tokenizer.json.

usage: make_cases.py TOKENIZER_JSON INP OUT [random texts] [seed]
INP holds texts parted by a line __ggml_vocab_test__. Needs the Python package tokenizers (0.23.3 was used).
"""
import json
import random
import re
import sys
import unicodedata

from tokenizers import Tokenizer

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT4O = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
             r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
             r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]


def pre_tokenizer(*patterns):
    splits = [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False} for p in patterns]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": splits + [level]}


def added(id, content, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True} | flags


def variants(source):
    own = source["added_tokens"]
    n = 1 + max(max(source["model"]["vocab"].values()), max(t["id"] for t in own))
    more = own + [added(n, "<|im_end|>x", special=False), added(n + 1, "<a>", lstrip=True, special=False),
                  added(n + 2, "<b>", rstrip=True), added(n + 3, "<c>", lstrip=True, rstrip=True, normalized=True),
                  added(n + 4, "éa", normalized=True, special=False), added(n + 5, "e\u0301x", special=False)]
    gpt2_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    yield "plain", None, {}, False
    yield "special", None, {}, True
    yield "nfc", None, {"normalizer": {"type": "NFC"}}, False
    yield "added", None, {"added_tokens": more}, False
    yield "added, special", None, {"added_tokens": more, "normalizer": {"type": "NFC"}}, True
    yield "gpt-2", "gpt-2", {"pre_tokenizer": gpt2_level}, False
    yield "starcoder", "starcoder", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, gpt2_level]}}, False
    yield "llama-bpe", "llama-bpe", {"pre_tokenizer": pre_tokenizer(LLAMA3), "model": {"ignore_merges": True}}, False
    yield "qwen2", "qwen2", {"pre_tokenizer": pre_tokenizer(QWEN2)}, False
    yield "gpt-4o", "gpt-4o", {"pre_tokenizer": pre_tokenizer(GPT4O)}, False
    yield "deepseek-v3", "deepseek-v3", {"pre_tokenizer": pre_tokenizer(*DEEPSEEK3)}, False


def merge_patch(target, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        result[key] = merge_patch(result.get(key), value)
    return result


def random_texts(count, seed):
    rng = random.Random(seed)
    by_category = {}
    for c in list(range(0x3400)) + list(range(0x4e00, 0x4f00)) + list(range(0xac00, 0xad00)) + list(range(0xf900, 0x10000)) \
            + list(range(0x10400, 0x10450)) + list(range(0x1d400, 0x1d500)) + list(range(0x1f300, 0x1f600)):
        # An old version of Unicode: characters that are new change from one library to the next.
        by_category.setdefault(unicodedata.ucd_3_2_0.category(chr(c)), []).append(chr(c))
    for unusable in ("Cs", "Cn", "Co"):
        by_category.pop(unusable, None)
    ascii_parts = ["the", " of", " and", "'s", "'RE", "'ſ", "'ll", " 12345", "3.14", "\n", "\r\n", "\t", "  ", "   ", " ",
                   "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<a>", "<b>", "<c>", "é", "éa", "e\u0301a", "e\u0301x", "e\u0301", "()",
                   "{}//", "\u180e", "\u200b", "\x85", "\u00a0", "\u3000", "_", "x", "HelloWorld", "ẞ", "K"]
    for _ in range(count):
        parts = []
        for _ in range(rng.randrange(1, 16)):
            if rng.random() < 0.6:
                parts.append(rng.choice(ascii_parts))
            else:
                category = rng.choice(sorted(by_category))
                parts.append("".join(rng.choice(by_category[category]) for _ in range(rng.randrange(1, 4))))
        yield "".join(parts)


def main():
    source_path, inp, out = sys.argv[1:4]
    count, seed = (int(a) for a in (sys.argv[4:6] + ["30", "1"][len(sys.argv) - 4:]))
    with open(source_path, encoding="utf-8") as f:
        source = json.load(f)
    with open(inp, encoding="utf-8", newline="") as f:
        texts = f.read().split("\n__ggml_vocab_test__\n")
    texts += random_texts(count, seed)
    result = {"texts": texts, "variants": []}
    for name, pre, patch, special in variants(source):
        tokenizer = Tokenizer.from_str(json.dumps(merge_patch(source, patch)))
        tokenizer.encode_special_tokens = not special
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        result["variants"].append({"name": name, "pre": pre, "patch": patch, "special": special, "ids": ids})
    with open(out, "w", encoding="utf-8") as f:
        text = json.dumps(result, ensure_ascii=True, indent=0, separators=(",", ":"))
        f.write(re.sub(r"(?<=[\d\[]),?\n(?=[\d\]])", lambda m: m.group(0).strip(), text) + "\n")


if __name__ == "__main__":
    main()
