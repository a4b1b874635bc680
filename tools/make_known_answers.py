#!/usr/bin/env python3
"""Writes tests/data/known-answers.json: routing rules, their statistics and the operations of a layer, computed in float64
with NumPy from the papers alone. Usage: tools/make_known_answers.py > tests/data/known-answers.json"""
import json
import math
import statistics

import numpy as np

random = np.random.default_rng(20)


def f32(shape, scale=1.0):
    return np.float32(random.uniform(-1, 1, shape) * scale).astype(np.float64)


def philox(counter, key):
    """Philox4x32-10, Salmon et al. 2011."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def softplus(z):
    return np.logaddexp(0, z)


def best(values, k):
    """Indices of the k largest, ties to the lower index."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]


def score(kind, z):
    return {"softmax": softmax, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "sqrt_softplus": lambda z: np.sqrt(softplus(z)),
            "logit": lambda z: z}[kind](z)


def sparsemixer(z, ids, near):
    """Liu et al. 2024: each choice against what is near to it, then it is taken out."""
    left, weights = z.copy(), []
    for e in ids:
        m = left[e]
        mask = (m - z) / np.maximum(np.abs(z), m) > near
        masked = np.where(mask, -np.inf, left)
        weights.append(np.exp(m - m) / np.exp(masked - m).sum())
        left[e] = -np.inf
    return np.array(weights)


def gate(rule, z, bias, token):
    """One token: ids and weights before drops."""
    n, k = rule["n_experts"], rule["top_k"]
    seed = (rule.get("seed_low", 0), rule.get("seed_high", 0))
    if rule.get("choose") == "tree":
        size, per = n // rule["n_groups"], k // rule["top_groups"]
        groups = best(z[n:], rule["top_groups"])
        outer, ids, weights = softmax(z[n:][groups]), [], []
        for g, w in zip(groups, outer):
            own = best(z[g * size:(g + 1) * size], per)
            ids += [g * size + e for e in own]
            weights += list(w * softmax(z[g * size:(g + 1) * size][own]))
        return ids, np.array(weights)
    if rule.get("noise"):
        draws = [philox((token["number"], e // 4, 1, 0), seed)[e % 4] for e in range(n)]
        normal = np.array([statistics.NormalDist().inv_cdf(((d >> 8) + 0.5) / 2**24) for d in draws])
        z = z + normal * softplus(token["noise"])
    s = score(rule["score"], z)
    select = s + bias if bias is not None else s.copy()
    if rule.get("n_groups", 0) > 1:
        parts = select.reshape(rule["n_groups"], -1)
        of_group = parts.max(1) if rule["group_score"] == "max" else np.sort(parts, 1)[:, -2:].sum(1)
        for g in range(rule["n_groups"]):
            if g not in best(of_group, rule["top_groups"]):
                parts[g] = -np.inf
        select = parts.reshape(-1)
    ids = token["table"] if rule.get("choose") == "table" else best(select, k)
    if rule.get("weight") == "softmax":
        weights = softmax(z[ids])
    elif rule.get("weight") == "sparsemixer":
        weights = sparsemixer(z, ids, rule["near"])
    else:
        weights = s[ids]
    if rule.get("renormalize") and not rule.get("drop"):
        p = rule.get("norm_power", 1)
        weights = weights / max((weights**p).sum() ** (1 / p) + rule.get("denominator_add", 0), rule.get("denominator_min", -np.inf))
    if rule.get("random_second"):
        for j in range(1, k):
            u = (philox((token["number"], j, 2, 0), seed)[0] >> 8) / 2**24
            if not 2 * weights[j] > u:
                weights[j] = 0
    return ids, weights


def route(rule, logits, bias, tokens):
    chosen = [gate(rule, z, bias, t) for z, t in zip(logits, tokens)]
    ids = [list(c[0]) for c in chosen]
    weights = [np.array(c[1]) for c in chosen]
    drop = rule.get("drop")
    if drop:
        pairs = [(t, j) for t in range(len(ids)) for j in range(rule["top_k"])]
        order = {"later": lambda a: (a[1], a[0]), "unlikely": lambda a: (a[1], -weights[a[0]][0], a[0]),
                 "unchosen": lambda a: (-weights[a[0]][a[1]], a[0])}[drop]
        taken, kept = {}, np.zeros((len(ids), rule["top_k"]), bool)
        for t, j in sorted(pairs, key=order):
            taken[ids[t][j]] = taken.get(ids[t][j], 0) + 1
            kept[t, j] = taken[ids[t][j]] <= rule["capacity"]
        for t in range(len(ids)):
            if rule.get("renormalize"):
                part = weights[t] if rule["renormalize"] == "all" else weights[t] * kept[t]
                weights[t] = weights[t] / max(part.sum(), rule.get("denominator_min", -np.inf))
            weights[t] = weights[t] * kept[t]
            ids[t] = [e if kept[t, j] else 0xFFFFFFFF for j, e in enumerate(ids[t])]
    return [c[0] for c in chosen], ids, [w * rule.get("scale", 1) for w in weights]


def stats(n, logits, chosen, ids, weights):
    z = np.array(logits)[:, :n]
    p = np.array([softmax(row) for row in z])
    flat, w = np.array(ids).reshape(-1), np.array(weights).reshape(-1)
    kept = (flat != 0xFFFFFFFF) & (w != 0)
    load = np.bincount(flat[kept], minlength=n) / max(kept.sum(), 1)
    importance = np.bincount(flat[kept], weights=w[kept], minlength=n)
    first = np.bincount([c[0] for c in chosen], minlength=n) / len(chosen)
    entropy = lambda q: float(-(q[q > 0] * np.log(q[q > 0])).sum())
    return {"load": list(load), "importance": list(importance), "fraction_dropped": float(1 - kept.mean()),
            "importance_cv2": float(importance.var() / importance.mean() ** 2), "load_balance_loss": float(n * (first * p.mean(0)).sum()),
            "z_loss": float((np.log(np.exp(z).sum(1)) ** 2).mean()), "router_entropy": float(np.mean([entropy(q) for q in p])),
            "load_entropy": entropy(load)}


def route_cases():
    r = lambda name, n, k, score, **more: (name, dict(n_experts=n, top_k=k, score=score, **more))
    rules = [
        r("Mixtral, Qwen3: softmax, top-k, renormalized", 8, 2, "softmax", renormalize="all"),
        r("Qwen2, OLMoE: softmax, top-k", 8, 3, "softmax"),
        r("Granite, gpt-oss: softmax of the chosen", 8, 4, "logit", weight="softmax"),
        r("DeepSeek-V2: groups by maximum", 16, 4, "softmax", n_groups=4, top_groups=2, group_score="max", scale=16.0),
        r("DeepSeek-V3: groups by the best two, bias", 16, 4, "sigmoid", bias=True, n_groups=4, top_groups=2, group_score="sum2",
          renormalize="all", denominator_add=1e-20, scale=2.5),
        r("DeepSeek-V4: square root of softplus, bias", 12, 3, "sqrt_softplus", bias=True, renormalize="all", scale=1.5),
        r("ERNIE-4.5: bias, a least denominator", 8, 2, "softmax", bias=True, renormalize="all", denominator_min=0.5),
        r("DBRX: 2-norm", 8, 4, "softmax", renormalize="all", norm_power=2.0),
        r("Phi-3.5-MoE: sparsemixer", 8, 2, "logit", weight="sparsemixer", near=0.2),
        r("Llama-4: sigmoid, top-1", 8, 1, "sigmoid"),
        r("Switch: top-1, capacity in token order", 4, 1, "softmax", drop="later", capacity=2),
        r("NLLB: top-2, batch-prioritized, renormalized after", 4, 2, "softmax", drop="unlikely", capacity=3, renormalize="kept",
          denominator_min=2.0**-23),
        r("GShard: top-2, renormalized before, capacity", 4, 2, "softmax", drop="later", capacity=3, renormalize="all"),
        r("GShard: second expert by chance", 4, 2, "softmax", renormalize="all", random_second=1, seed_low=7, seed_high=1),
        r("GLaM: top-2 of 64", 64, 2, "softmax", renormalize="all"),
        r("Shazeer 2017: noisy top-k", 8, 2, "logit", weight="softmax", noise=1, seed_low=11, seed_high=3),
        r("Shazeer 2017: two levels", 16, 4, "logit", choose="tree", n_groups=4, top_groups=2),
        r("Zhou 2022: expert choice", 6, 6, "softmax", drop="unchosen", capacity=2),
        r("Jacobs 1991: soft mixture", 8, 8, "softmax"),
        r("Roller 2021: hash layer", 8, 1, "softmax", choose="table", renormalize="all"),
    ]
    cases = []
    for name, rule in rules:
        n, groups = rule["n_experts"], rule["n_groups"] if rule.get("choose") == "tree" else 0
        logits = f32((6, n + groups), 3)
        bias = f32(n) if rule.pop("bias", False) else None
        tokens = [{"number": t} for t in range(6)]
        case = {"name": name, "rule": rule, "logits": logits.tolist()}
        if bias is not None:
            case["bias"] = bias.tolist()
        if rule.get("noise"):
            noise = f32((6, n), 2)
            case["noise"] = noise.tolist()
            for t in range(6):
                tokens[t]["noise"] = noise[t]
        if rule.get("choose") == "table":
            case["table"] = random.integers(0, n, (6, rule["top_k"])).tolist()
            for t in range(6):
                tokens[t]["table"] = case["table"][t]
        chosen, ids, weights = route(rule, logits, bias, tokens)
        case |= {"ids": [[int(e) for e in row] for row in ids], "weights": [row.tolist() for row in weights],
                 "chosen": [[int(e) for e in row] for row in chosen], "stats": stats(n, logits, chosen, ids, weights)}
        cases.append(case)
    return cases


def matmul_case():
    """y = W x, and SwiGLU (Shazeer 2020) of two matrices; W as float32 and as Q8_0 (an fp16 scale and 32 bytes a block)."""
    n, k = 5, 96
    x, bias = f32((3, k), 2), f32(n)
    gate, up = f32((n, k)), f32((n, k))
    scales, q = random.uniform(0.01, 0.1, (n, k // 32)).astype(np.float16), random.integers(-128, 128, (n, k // 32, 32)).astype(np.int8)
    blocks = b"".join(scales[r, b].tobytes() + q[r, b].tobytes() for r in range(n) for b in range(k // 32))
    q8_0 = (scales[:, :, None].astype(np.float64) * q).reshape(n, k)
    g, u = x @ gate.T, x @ up.T
    return {"n": n, "k": k, "x": x.tolist(), "bias": bias.tolist(), "gate": gate.tolist(), "up": up.tolist(), "q8_0": list(blocks),
            "plain": (g + bias).tolist(), "swiglu": (g / (1 + np.exp(-g)) * u).tolist(), "of_q8_0": (x @ q8_0.T).tolist()}


def operation_cases():
    x, w, b = f32((2, 12), 4), f32(12), f32(12)
    rms = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * w
    centred = x - x.mean(1, keepdims=True)
    layer = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * w + b
    q, keys, values = f32(8, 2), f32((5, 8), 2), f32((5, 8))
    attend = {}
    for cap in (0.0, 2.0):
        s = keys @ q * 0.35
        s = cap * np.tanh(s / cap) if cap else s
        attend[str(cap)] = (softmax(s) @ values).tolist()
    head, turned, position = f32(8, 2), {}, 3
    for interleaved in (0, 1):
        y = head.copy()
        for i in range(3):  # six of eight dimensions
            angle = position * 10000.0 ** (-2 * i / 6)
            first, second = (2 * i, 2 * i + 1) if interleaved else (i, i + 3)
            z = complex(head[first], head[second]) * complex(math.cos(angle), math.sin(angle))
            y[first], y[second] = z.real, z.imag
        turned[str(interleaved)] = y.tolist()
    matmul = matmul_case()
    return {"matmul": matmul, "norm": {"x": x.tolist(), "weight": w.tolist(), "bias": b.tolist(), "epsilon": 1e-5, "rms": rms.tolist(), "layer": layer.tolist()},
            "attention": {"query": q.tolist(), "keys": keys.tolist(), "values": values.tolist(), "scale": 0.35, "by_softcap": attend},
            "rope": {"head": head.tolist(), "rotary_dim": 6, "theta": 10000.0, "position": position, "by_interleaved": turned},
            "philox": {"counter": [5, 6, 7, 8], "key": [9, 10], "words": philox((5, 6, 7, 8), (9, 10))}}


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return {k: rounded(v) for k, v in value.items()} if isinstance(value, dict) else value


print(json.dumps(rounded({"route": route_cases(), "operations": operation_cases()}), separators=(",", ":")))
