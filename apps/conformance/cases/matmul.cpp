// matmul: y = W x in every weight format and workgroup shape. All shapes must give the bits of the plainest one, and every
// format those of its values as F32; with texels, those of each row by itself and of one tile.
#include <algorithm>
#include <cmath>

#include "conformance/cases.h"
#include "conformance/weights.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t lane_rows, split, pairs;
  bool texels;
  uint32_t staged_lanes = 0;  // matmul_staged, with lane_rows; the others of plainest
  bool storage16 = false;     // Tuning::storage16
  std::string name() const {
    if (staged_lanes) return cat("staged=", staged_lanes, ",rows=", lane_rows);
    return cat("rows=", lane_rows, ",split=", split, ",pairs=", pairs, texels ? ",texels" : storage16 ? ",storage16" : "");
  }
};
constexpr Shape plainest = {4, 1, 1, false};

Tuning with_shape(const Check& check, const Shape& s) {
  const Caps& caps = check.caps();
  uint32_t lanes = s.staged_lanes ? s.staged_lanes : TILE_ROWS / s.lane_rows * s.split;
  if (lanes > caps.max_invocations)
    throw Unsupported(cat("workgroups of ", lanes, " (the device allows ", caps.max_invocations, ")"));
  if (s.texels) need_shuffles(check, lanes);
  if (s.storage16 && !caps.exact_storage16) throw Unsupported("exact conversion of fp16 from storage buffers");
  Tuning tuning = Tuning::of(caps);
  tuning.most_rows = 0xffffffffu;
  tuning.storage16 = s.storage16;
  for (Tuning::Matmul& m : tuning.matmul) m = s.staged_lanes ? Tuning::Matmul{4, 1, 1} : Tuning::Matmul{s.lane_rows, s.split, s.pairs};
  tuning.staged = {s.staged_lanes, s.lane_rows, 2};
  tuning.texels = s.texels;
  return tuning;
}

struct Job {
  uint32_t n, n_rows, epilogue, x_first, y_column;
  bool shards;
  float scale;
  Activation activation = {};
  bool biased = false;
};

// Rows x_first .. of x through W, `at_once` rows a dispatch, into columns of y that held `before`.
std::vector<float> run_matmul(Check& check, const Tuning& tuning, const Weight& weight, const std::vector<float>& x,
                              const std::vector<float>& before, const Job& job, uint32_t at_once) {
  uint32_t width = job.y_column + job.n;
  std::vector<float> all;
  Rows rows = check.input_rows(x, weight.k);
  for (uint32_t first = 0; first < job.n_rows; first += at_once) {
    uint32_t n = std::min(at_once, job.n_rows - first);
    Rows y = check.input_rows({before.begin() + first * width, before.begin() + (first + n) * width}, width, "y");
    check.run(tuning, [&](Recorder& r) {
      matmul(r, {.weight = weight, .x = rows, .y = y, .n_rows = n, .x_first = job.x_first + first, .y_column = job.y_column,
                 .epilogue = job.epilogue, .scale = job.scale, .activation = job.activation});
    });
    check.padding_untouched(y, n, width);
    std::vector<float> part = check.read_rows(y, n, width);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

// An activation of a value, and the bound that follows from the value's own: none is steeper than 1.13.
Product activated(const Activation& activation, Product v) {
  if (activation.kind == ACTIVATION_RELU) return {std::max(v.value, 0.0), v.bound};
  bool gelu = activation.kind == ACTIVATION_GELU, clamped = activation.kind == ACTIVATION_CLAMPED_SILU;
  double x = clamped ? std::min(v.value, double(activation.limit)) : v.value;
  double u = gelu ? 2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x) : x * (clamped ? activation.alpha : 1);
  double sigmoid = 1 / (1 + std::exp(-u)), y = x * sigmoid;
  return {y, 1.13 * v.bound + std::abs(y) * ((1 - sigmoid) * (exp_error(u) + 8 * half_ulp * std::abs(u)) + 8 * half_ulp)};
}

Product epilogue(const Job& job, Product gate, Product up, double before) {
  if (job.epilogue == EPILOGUE_ACTIVATED) return activated(job.activation, gate);
  if (job.epilogue == EPILOGUE_GATED) {
    if (job.activation.kind == ACTIVATION_CLAMPED_SILU)
      up.value = std::clamp(up.value, -double(job.activation.limit), double(job.activation.limit)) + 1;
    Product a = activated(job.activation, gate);
    return {a.value * up.value, a.bound * (std::abs(up.value) + up.bound) + std::abs(a.value) * (up.bound + 2 * half_ulp * std::abs(up.value))};
  }
  double add = job.epilogue == EPILOGUE_ADD ? before : 0, value = add + job.scale * gate.value;
  return {value, std::abs(job.scale) * (gate.bound + 2 * half_ulp * std::abs(gate.value)) + half_ulp * (std::abs(add) + std::abs(value))};
}

Product biased(Product p, double bias) {
  return {p.value + bias, p.bound + half_ulp * (std::abs(p.value) + std::abs(bias))};
}

Buffer place_bias(Check& check, const std::vector<float>& bias) {
  Buffer buffer = check.device().create_buffer(bias.size() * 4, MemoryUse::device, "bias");
  check.device().upload(buffer, 0, bias.data(), bias.size() * 4);
  return buffer;
}

void check_matmul(Check& check, const Format& format, const Shape& shape, const Job& job) {
  bool paired = job.epilogue == EPILOGUE_GATED;
  if (shape.storage16) check.that(find_kernel(cat("matmul_storage16_", lower_name(format))), "no kernel that loads fp16");
  uint32_t k = columns(format, true), width = job.y_column + job.n;
  RandomMatrix gate(check, format, 1, job.n, k, true), up(check, format, 1, paired ? job.n : 1, k, true);
  std::vector<float> x = random_values(check, size_t(job.x_first + job.n_rows) * k, job.activation.kind ? 0.2 : 2);
  std::vector<float> before = random_values(check, size_t(job.n_rows) * width);
  std::vector<float> bias = job.biased ? random_values(check, 2 * size_t(job.n), 3) : std::vector<float>(2 * size_t(job.n));
  Tuning tuning = with_shape(check, shape), plain = with_shape(check, plainest);
  Weight weight = place(check, gate.matrix, paired ? &up.matrix : nullptr);
  if (job.shards) weight = cut(check, weight, paired ? 2 : 1);
  weight.biased = job.biased;
  if (job.biased) weight.bias = place_bias(check, bias);
  std::vector<float> got = run_matmul(check, tuning, weight, x, before, job, job.n_rows);

  std::vector<double> want(before.begin(), before.end()), bound(before.size(), 0.0), exact_x(x.begin(), x.end());
  bool integers = shape.texels && find_kernel(cat("matmul_int8_", lower_name(format)));
  for (uint32_t t = 0; t < job.n_rows; ++t) {
    size_t first = size_t(job.x_first + t) * k;
    auto product_of = [&](const float* w) {
      return integers ? integer_product(w, &exact_x[first], k, 33) : product(w, &x[first], k);
    };
    for (uint32_t r = 0; r < job.n; ++r) {
      size_t at = size_t(t) * width + job.y_column + r;
      Product g = biased(product_of(gate.row(0, r)), bias[r]), u = {};
      if (paired) u = biased(product_of(up.row(0, r)), bias[job.n + r]);
      Product p = epilogue(job, g, u, before[at]);
      want[at] = p.value;
      bound[at] = p.bound;
    }
  }
  check.close("y", got, want, bound);
  if (job.n_rows > 1) check.equal("y row by row", run_matmul(check, tuning, weight, x, before, job, 1), got);
  if (shape.texels) {
    check.equal("y of one tile", run_matmul(check, with_shape(check, {4, 1, 1, true}), weight, x, before, job, job.n_rows), got);
    return;
  }
  Weight f32 = place(check, gate.decoded, paired ? &up.decoded : nullptr);
  f32.biased = weight.biased;
  f32.bias = weight.bias;
  check.equal("y of the plainest shape and F32", run_matmul(check, plain, f32, x, before, job, job.n_rows), got);
}

// Several matrices (heads), each with columns of x and y and biases of its own.
void check_batch(Check& check, const Format& format, const Shape& shape) {
  uint32_t heads = 3, n = 40, k = columns(format, true) / 64 * 64, n_rows = 5;
  RandomMatrix w(check, format, heads, n, k, true);
  Weight weight = place(check, w.matrix);
  std::vector<float> x = random_values(check, size_t(n_rows) * heads * k), bias = random_values(check, heads * n, 3);
  weight.biased = true;
  weight.bias = place_bias(check, bias);
  Rows in = check.input_rows(x, heads * k), y = check.output_rows(n_rows, heads * n);
  check.run(with_shape(check, shape), [&](Recorder& r) {
    matmul(r, {.weight = weight, .x = in, .y = y, .n_rows = n_rows, .x_batch = k, .y_batch = n});
  });
  std::vector<double> want, bound;
  for (uint32_t t = 0; t < n_rows; ++t) {
    for (uint32_t i = 0; i < heads * n; ++i) {
      Product p = biased(product(w.row(i / n, i % n), &x[(size_t(t) * heads + i / n) * k], k), bias[i]);
      want.push_back(p.value);
      bound.push_back(p.bound);
    }
  }
  check.close("y", check.read_rows(y, n_rows, heads * n), want, bound);
  check.padding_untouched(y, n_rows, heads * n);
}

// The last two of 16,390 experts of 256 KiB: a shard that begins more than 4 GiB behind the first one, which is nowhere.
// Experts 2^32 bytes before them are other shards', whose results are left alone.
void check_far_shard(Check& check, const Shape& shape) {
  uint32_t experts = 16390, here = 2, n = TILE_ROWS, k = 2048, n_rows = 2;
  RandomMatrix w(check, *find_format("F32"), here, n, k, true);
  Weight weight = place(check, w.matrix);
  WeightShard& shard = weight.shards.at(0);
  weight.n_experts = experts;
  shard.first_tile = (experts - here) * weight.expert_tiles;
  std::vector<int32_t> bases;
  for (uint32_t e = 0; e < experts; ++e) bases.push_back(int32_t(e * weight.expert_tiles) - int32_t(shard.first_tile));
  shard.bases = check.device().create_buffer(bases.size() * 4, MemoryUse::device, "bases");
  check.device().upload(shard.bases, 0, bases.data(), bases.size() * 4);
  std::vector<float> x = random_values(check, size_t(n_rows) * k), before = random_values(check, size_t(n_rows) * experts * n);
  Rows in = check.input_rows(x, k), y = check.input_rows(before, experts * n, "y");
  check.run(with_shape(check, shape), [&](Recorder& r) { matmul(r, {.weight = weight, .x = in, .y = y, .n_rows = n_rows, .y_batch = n}); });
  std::vector<double> want(before.begin(), before.end()), bound(want.size(), 0.0);
  for (uint32_t t = 0; t < n_rows; ++t) {
    for (uint32_t i = 0; i < here * n; ++i) {
      size_t at = (size_t(t) * experts + experts - here) * n + i;
      Product p = product(w.row(i / n, i % n), &x[size_t(t) * k], k);
      want[at] = p.value;
      bound[at] = p.bound;
    }
  }
  check.close("y", check.read_rows(y, n_rows, experts * n), want, bound);
}

void add(Cases& cases, const Format& format, const Shape& shape, const Job& job, bool quick) {
  const char *epilogues[] = {"", ",add", ",gated", ",activated"}, *activations[] = {"", ",clamped", ",gelu", ",relu"};
  cases.push_back({"matmul", cat(lower_name(format), ",", shape.name()),
                   cat("n=", job.n, ",tokens=", job.n_rows, ",first=", job.x_first, ",column=", job.y_column, ",scale=",
                       job.scale, epilogues[job.epilogue], activations[job.activation.kind], job.biased ? ",bias" : "", job.shards ? ",shards" : ""),
                   quick, [=, &format](Check& check) { check_matmul(check, format, shape, job); }});
}

}  // namespace

void add_matmul(Cases& cases) {
  const Job store = {70, 9, EPILOGUE_STORE, 2, 0, true, 1}, accumulate = {33, 4, EPILOGUE_ADD, 0, 5, false, 0.25f};
  const Job swiglu = {40, 3, EPILOGUE_GATED, 1, 0, true, 1}, one = {1, 1, EPILOGUE_STORE, 0, 0, false, -2};
  const Job many = {64, 17, EPILOGUE_STORE, 0, 3, false, 1}, tall = {100, 45, EPILOGUE_STORE, 3, 0, true, 1};
  const Job tall_swiglu = {70, 35, EPILOGUE_GATED, 0, 0, true, 1, {ACTIVATION_CLAMPED_SILU, 1.702f, 7}, true};
  for (const Format* format : all_formats()) {
    add(cases, *format, {4, 1, 1, true}, store, true);
    add(cases, *format, {4, 1, 1, false}, store, false);
    add(cases, *format, {1, 4, 1, false}, store, true);
    add(cases, *format, {1, 2, 1, false}, swiglu, false);
    add(cases, *format, {4, 1, 1, false, 128}, many, true);
    add(cases, *format, {8, 1, 1, false, 64}, tall, false);
  }
  const Format& f32 = *find_format("F32");
  for (uint32_t lane_rows : {1, 2, 4, 8}) {
    for (uint32_t split : {1, 2, 4, 8}) {
      for (uint32_t pairs : {1, 2}) {
        Shape shape = {lane_rows, split, pairs, false};
        bool chosen = (lane_rows == 4 && split == 1) || (pairs == 1 && lane_rows == 1 && (split == 4 || split == 2));
        for (const Job& job : {store, accumulate, swiglu, one, many}) add(cases, f32, shape, job, chosen);
        for (const Job& job : {store, swiglu}) add(cases, *find_format("Q4_K"), shape, job, false);
      }
    }
  }
  for (const Shape& shape : {Shape{4, 1, 1, false, 0, true}, Shape{1, 4, 2, false, 0, true}}) {
    for (const Job& job : {store, accumulate, swiglu, one, many}) add(cases, *find_format("F16"), shape, job, true);
  }
  for (const Job& job : {accumulate, swiglu, one, many}) add(cases, f32, {4, 1, 1, true}, job, true);
  for (const char* format : {"Q8_0", "Q2_K", "Q4_K", "Q6_K"}) {  // an integer's scale for 32 or 16 values, with minima and without
    for (const Job& job : {accumulate, swiglu, one, many}) add(cases, *find_format(format), {4, 1, 2, true}, job, true);
  }
  for (const Shape& shape : {Shape{4, 1, 1, false, 128}, Shape{8, 1, 1, false, 128}, Shape{4, 1, 1, false, 64}, Shape{8, 1, 1, false, 64}}) {
    bool chosen = shape.lane_rows == 4 && shape.staged_lanes == 128;
    for (const Job& job : {store, accumulate, swiglu, tall, tall_swiglu}) add(cases, f32, shape, job, chosen);
  }
  for (Activation activation : {Activation{ACTIVATION_SILU, 0, 0}, {ACTIVATION_CLAMPED_SILU, 1.702f, 7}, {ACTIVATION_GELU, 0, 0},
                                {ACTIVATION_RELU, 0, 0}}) {
    for (uint32_t epilogue : {EPILOGUE_GATED, EPILOGUE_ACTIVATED}) {
      if (epilogue == EPILOGUE_ACTIVATED && activation.kind == ACTIVATION_CLAMPED_SILU) continue;  // a gate's alone
      for (bool texels : {false, true})
        add(cases, f32, {4, 1, 1, texels}, {40, 6, epilogue, 0, 2, false, 1, activation, true}, true);
    }
  }
  for (const Shape& shape : {plainest, Shape{1, 2, 1, false}, {4, 1, 1, true}, {4, 1, 1, false, 128}})
    cases.push_back({"matmul", cat("f32,", shape.name()), "heads=3,tokens=5", true, [=, &f32](Check& check) { check_batch(check, f32, shape); }});
  for (const Shape& shape : {plainest, Shape{1, 4, 1, false}, {4, 1, 1, false, 128}})
    cases.push_back({"matmul", cat("f32,", shape.name()), "shard-at=4GiB", true, [=](Check& check) { check_far_shard(check, shape); }});
}

}  // namespace vkmoe::conformance
