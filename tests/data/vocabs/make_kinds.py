#!/usr/bin/env python3
"""Writes kinds.json: small tokenizers of each kind that is not byte-level BPE, texts, and the ids that their libraries
give for them.

usage: make_kinds.py TEXT OUT [seed]
TEXT is what they are trained on. Needs the Python packages tokenizers (0.23.3 was used), sentencepiece (0.2.3)
and tiktoken (0.14.0).
"""
import base64
import io
import json
import random
import sys
import tempfile

import sentencepiece
import tiktoken
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from make_cases import random_texts

SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{i:02X}>" for i in range(256)]


def bpe(texts, normalizer, pre, special=SPECIAL, size=500, **options):
    made = Tokenizer(models.BPE(unk_token="<unk>", **options))
    if normalizer:
        made.normalizer = normalizer
    if pre:
        made.pre_tokenizer = pre
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    return made


def unigram(texts, normalizer, pre):
    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizer, pre
    made.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=400, special_tokens=SPECIAL, unk_token="<unk>",
                                                            show_progress=False))
    return made


def wordpiece(texts, **options):
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(**options), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(texts, trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    return made


def json_kinds(texts):
    ascii_texts = ["".join(c for c in t if ord(c) < 0x250) for t in texts]
    metaspace = pre_tokenizers.Metaspace
    llama = bpe(ascii_texts, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None,
                SPECIAL + BYTES, 700, byte_fallback=True, fuse_unk=True)
    llama.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                       decoders.Strip(" ", 1, 0)])
    llama.add_tokens([AddedToken("the", single_word=True, normalized=False), AddedToken("x's", normalized=False, lstrip=True)])
    yield "llama", llama
    yield "fused unknowns", bpe(ascii_texts, normalizers.NFKC(), metaspace(prepend_scheme="first"), fuse_unk=True)
    yield "unknowns", bpe(ascii_texts, normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(),
                                                             normalizers.Strip()]), pre_tokenizers.Whitespace())
    yield "t5", unigram(ascii_texts, normalizers.Nmt(), pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace()]))
    yield "bert", wordpiece(ascii_texts)
    yield "bert, cased", wordpiece(ascii_texts, lowercase=False)
    cut = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\d{1,3}(?=(?:\d{3})*\b)"), "isolated"), pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.Split(Regex("[a-m]"), "merged_with_next"), pre_tokenizers.Split("o", "merged_with_previous"),
        pre_tokenizers.Split(Regex(r"(?=(\d{3})+(?!\d))"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(False),
        pre_tokenizers.Split(Regex("[0-9][0-9]"), "isolated")])
    level = Tokenizer(models.BPE())
    level.pre_tokenizer, level.decoder = cut, decoders.ByteLevel()
    level.train_from_iterator(ascii_texts, trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    yield "cut", level


def spm_kinds(texts):
    lines = [line.replace("<s>", "").replace("</s>", "") for text in texts for line in text.split("\n") if line.strip()]
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for line in ["FB01\t66 69", "FF21\t41", "C9\t65 301", "65 301\tE9", "9\t20", "BD\t31 2F 32"]:
            rules.write(line + "\n")
        rules.flush()
        common = {"normalization_rule_tsv": rules.name, "character_coverage": 0.98, "hard_vocab_limit": False}
        for name, options in {
            "spm bpe": dict(model_type="bpe", vocab_size=700, byte_fallback=True, remove_extra_whitespaces=False,
                            normalization_rule_tsv="", normalization_rule_name="identity"),
            "spm bpe, symbols": dict(model_type="bpe", vocab_size=420, user_defined_symbols=["<a>", "the", "▁▁"]),
            "spm unigram": dict(model_type="unigram", vocab_size=420, user_defined_symbols=["<a>"]),
            "spm unigram, bytes": dict(model_type="unigram", vocab_size=700, byte_fallback=True, add_dummy_prefix=False,
                                       remove_extra_whitespaces=False),
        }.items():
            model = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, minloglevel=2,
                                                     **(common | options))
            yield name, model.getvalue()


# As Kimi-K2's tokenization_kimi.py cuts text.
KIMI = "|".join([
    r"[\p{Han}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])


def tiktoken_ranks(texts):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    level = {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}
    return {bytes(level[c] for c in text): id for text, id in made.get_vocab().items()}


def main():
    text_path, out = sys.argv[1:3]
    seed = int((sys.argv[3:] + ["1"])[0])
    with open(text_path, encoding="utf-8") as f:
        text = f.read()[:30000]
    corpus = [text[i:i + 300] for i in range(0, len(text), 300)] + list(random_texts(60, seed + 1))
    texts = ["", " ", "   ", "Hello world", "  a  b ", "the other the.", "x's", "\u2581a", "<0x0A>", "1234567.50", "ﬁＡÉe\u0301½"]
    texts += [t.replace("<s>", "") for t in random_texts(70, seed)]
    kinds = []
    for name, made in json_kinds(corpus):
        made.encode_special_tokens = True
        kinds.append({"name": name, "tokenizer": json.loads(made.to_str()),
                      "ids": [made.encode(t, add_special_tokens=False).ids for t in texts]})
    for name, model in spm_kinds(corpus):
        made = sentencepiece.SentencePieceProcessor(model_proto=model)
        kinds.append({"name": name, "model": base64.b64encode(model).decode(), "ids": [made.encode(t) for t in texts]})
        if name == "spm bpe":  # a GGUF's "llama" knows no rules of normalization
            ids = range(made.get_piece_size())
            kinds[-1]["gguf"] = {
                "tokenizer.ggml.model": "llama",
                "tokenizer.ggml.tokens": [made.id_to_piece(i) for i in ids],
                "tokenizer.ggml.scores": [made.get_score(i) for i in ids],
                "tokenizer.ggml.token_type": [2 if made.is_unknown(i) else 3 if made.is_control(i) else
                                              6 if made.is_byte(i) else 1 for i in ids]}
    ranks = tiktoken_ranks(corpus)
    lines = [base64.b64encode(token) + b" %d\n" % rank for token, rank in sorted(ranks.items(), key=lambda item: item[1])]
    made = tiktoken.Encoding("test", pat_str=KIMI, mergeable_ranks=ranks, special_tokens={})
    kinds.append({"name": "tiktoken", "tiktoken": b"".join(lines).decode(), "ids": [made.encode_ordinary(t) for t in texts]})
    with open(out, "w", encoding="utf-8") as f:
        json.dump({"texts": texts, "kinds": kinds}, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
