#include <algorithm>
#include <cctype>

#include "base/numeric.h"
#include "moe/ops/ops.h"

namespace vkmoe {
namespace {

constexpr uint32_t few_groups = 32;  // workgroups of a matrix and token
constexpr uint32_t staged_height = 3;  // index of the height that the kernels of lib/tall_matmul.glsl take
constexpr const char* tall_stems[] = {"matmul_staged", "matmul_int8", "matmul_coopmat"};  // by Products

// Rows of x that a workgroup takes.
uint32_t rows_of(const Recorder& r, uint32_t height) {
  const uint32_t heights[TILE_HEIGHTS] = {TILE_HEIGHT_0, TILE_HEIGHT_1, r.tuning.whole_tile, TILE_HEIGHT_3};
  return heights[height];
}

// Rows of x that the lowest workgroup of a list takes.
uint32_t least_rows(const Recorder& r, uint32_t height) {
  if (height == staged_height) return r.tuning.staged_from();
  return height == 0 ? 1 : std::min(rows_of(r, height - 1) + 1, rows_of(r, height));
}

std::string kernel_name(const char* stem, const Format& format) {
  std::string name = cat(stem, "_", format.name);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return name;
}

// Shape of the workgroups for a weight and a height.
struct Shape {
  uint32_t lanes, lane_rows, split, tiles;
};

Shape shape_of(const Recorder& r, const Weight& weight, uint32_t height, Products products = Products::exact) {
  if (products == Products::int8) return {r.tuning.int8.lanes, r.tuning.int8.lane_rows, 1, 2};
  if (height == staged_height) return {r.tuning.staged.lanes, r.tuning.staged.lane_rows, 1, 2};
  Tuning::Matmul t = r.tuning.matmul[height];
  uint32_t least = weight.paired ? 2 : 1, tiles = t.pairs * least;
  if (t.lane_rows * tiles > r.tuning.most_rows) tiles = least;
  for (; t.lane_rows * tiles > r.tuning.most_rows && t.lane_rows > 1; t.lane_rows /= 2) t.split = std::max(1u, t.split / 2);
  uint32_t split = t.split, invocations = TILE_ROWS / t.lane_rows;
  // So few workgroups, for one token, leave most of a GPU idle: more invocations share a row.
  while (height == 0 && split > 1 && split < MATMUL_SEGMENTS && ceil_div(weight.expert_tiles, tiles) <= few_groups &&
         2 * split * invocations <= r.device.caps().max_invocations)
    split *= 2;
  // The partial sums of all segments must fit in shared memory.
  uint32_t outputs = TILE_ROWS * tiles * rows_of(r, height);
  if (split > 1 && MATMUL_SEGMENTS * outputs * 4 > r.device.caps().max_shared_bytes) split = 1;
  return {invocations * split, t.lane_rows, split, tiles};
}

uint32_t row_groups(const Recorder& r, const Weight& weight, uint32_t height) {
  return uint32_t(ceil_div(weight.expert_tiles, shape_of(r, weight, height).tiles));
}

const Kernel& matmul_kernel(Recorder& r, const Weight& weight, uint32_t height, uint32_t rows, uint32_t epilogue,
                            uint32_t activation, Products products, bool weighted = false) {
  Shape shape = shape_of(r, weight, height, products);
  const char* stem = height == staged_height ? tall_stems[int(products)] : r.tuning.texels ? "matmul_texels" : "matmul";
  if (height != staged_height && r.tuning.storage16 && find_kernel(kernel_name("matmul_storage16", *weight.format)))
    stem = "matmul_storage16";
  epilogue |= (weight.biased ? EPILOGUE_BIASED : 0) | (weighted ? EPILOGUE_WEIGHTED : 0);
  SpecConstants constants = {shape.lanes, shape.lane_rows, rows_of(r, height), rows, epilogue, shape.tiles, activation,
                             r.tuning.exact_halves};
  if (height != staged_height) constants.push_back(shape.split);
  if (products == Products::fp16) {
    const MatrixShape& matrices = r.device.caps().cooperative_matrix;
    constants.insert(constants.end(), {matrices.m, matrices.n, matrices.k, matrices.lanes});
  }
  return r.device.kernel(kernel_name(stem, *weight.format), constants);
}

// The buffers of matmul.comp; shard.bases stands for what is not read.
std::vector<BufferView> bindings(const Kernel& kernel, const Weight& weight, const WeightShard& shard, Rows x, Rows y,
                                 BufferView tiles, BufferView sorted, BufferView weights) {
  BufferView quads = shard.tiles, bias = weight.bias ? weight.bias : shard.bases;
  if (kernel.binary->binding_count == 8) return {quads, shard.bases, x.view, y.view, tiles, sorted, bias, weights};
  return {quads.as(Texels::uint4), shard.bases, x.view.as(Texels::float4), y.view, tiles, sorted, bias, weights,
          quads.as(Texels::uint1)};
}

MatmulParams params_of(const Weight& w, const WeightShard& shard, Rows x, Rows y) {
  MatmulParams p = {};
  p.n = w.n;
  p.blocks = w.blocks;
  p.tile_quads = w.tile_quads;
  p.tail_word = w.tail_word;
  p.shard_tiles = shard.n_tiles;
  p.x_stride = x.stride / 4;
  p.y_stride = y.stride;
  p.scale = 1;
  return p;
}

// 16-byte units of a row of x as round_rows() writes it.
uint64_t rounded_row_quads(Products products, uint64_t blocks) {
  return products == Products::int8 ? blocks * INT8_QUADS : blocks * HALF_QUADS + 1;
}

// Takes rounded rows in place of x.
void take_rounded(Products products, const Weight& weight, BufferView rounded_x, Rows& x, MatmulParams& p) {
  x.view = rounded_x;
  p.x_stride = uint32_t(rounded_row_quads(products, weight.blocks));
}

// Work of a dispatch over one shard: `experts` of the matrices are read once, and as many rows of x, for `rows` results.
WorkCount work_of(const Weight& w, const WeightShard& shard, uint64_t experts, uint64_t rows, uint32_t epilogue, Products products) {
  uint64_t tiles = uint64_t(w.expert_tiles) * w.n_experts, values = rows * w.n * shard.n_tiles / tiles;
  uint64_t weights = experts * shard.n_tiles * w.tile_quads * 16 / w.n_experts;
  uint64_t x = rounded_rows_bytes(products, rows, w.k);
  return {weights + x + values * 4 * (epilogue == EPILOGUE_ADD ? 2 : 1), 2 * values * w.k * (w.paired ? 2 : 1)};
}

// Notes the work of the coming dispatch over a list of tiles: rows really routed, and experts that have any of them.
void note_tiles(Recorder& r, const Weight& weight, const WeightShard& shard, const Routing& routing, uint32_t first_tile,
                const BufferView& groups, uint32_t epilogue, Products products) {
  BufferView list = routing.tiles;
  list.offset += uint64_t(first_tile) * 16;
  list.size = uint64_t(routing.tile_capacity) * 16;
  const uint32_t* tiles = r.recording.watch(list);
  const uint32_t* count = r.recording.watch(groups);
  r.recording.note([tiles, count, &weight, &shard, epilogue, products] {
    uint64_t rows = 0, experts = 0;
    for (uint32_t i = 0; i < count[0]; ++i) {  // an expert's tiles follow each other
      rows += tiles[4 * i + 2];
      experts += i == 0 || tiles[4 * i] != tiles[4 * i - 4];
    }
    return work_of(weight, shard, experts, rows, epilogue, products);
  });
}

}  // namespace

Products products_of(const Recorder& r, const Weight& weight, uint32_t n_rows) {
  bool has = n_rows >= r.tuning.staged_from() && find_kernel(kernel_name(tall_stems[int(r.tuning.products)], *weight.format));
  return has ? r.tuning.products : Products::exact;
}

uint64_t rounded_rows_bytes(Products products, uint64_t n_rows, uint32_t k) {
  return n_rows * (products == Products::exact ? k * 4ull : rounded_row_quads(products, ceil_div(k, 32)) * 16);
}

void round_rows(Recorder& r, Products products, Rows x, BufferView y, uint32_t n_rows, uint32_t k) {
  QuantizeParams p = {n_rows, uint32_t(ceil_div(k, 32)), x.stride / 4};
  bool int8 = products == Products::int8;
  uint64_t groups = int8 ? ceil_div(uint64_t(n_rows) * p.blocks, r.tuning.lanes) : n_rows;
  uint64_t across = std::min<uint64_t>(groups, 32768);
  r.recording.note({uint64_t(n_rows) * k * 4 + rounded_rows_bytes(products, n_rows, k), 3 * uint64_t(n_rows) * k});
  r.recording.dispatch(r.device.kernel(int8 ? "quantize_rows" : "half_rows", {r.tuning.lanes}), {x.view, y}, p, uint32_t(across),
                       uint32_t(ceil_div(groups, across)));
}

void matmul(Recorder& r, const DenseMatmul& call) {
  uint32_t height = call.n_rows == 1 ? 0 : call.n_rows <= TILE_HEIGHT_1 ? 1 : call.n_rows < r.tuning.staged_from() ? 2 : staged_height;
  Products products = call.rounded_x ? products_of(r, call.weight, call.n_rows) : Products::exact;
  const Kernel& kernel = matmul_kernel(r, call.weight, height, ROWS_DENSE, call.epilogue, call.activation.kind, products);
  for (const WeightShard& shard : call.weight.shards) {
    MatmulParams p = params_of(call.weight, shard, call.x, call.y);
    p.n_rows = call.n_rows;
    p.x_first = call.x_first;
    p.y_column = call.y_column;
    p.scale = call.scale;
    p.x_batch = call.x_batch / 4;
    p.y_batch = call.y_batch;
    p.activation = call.activation;
    Rows x = call.x;
    if (products != Products::exact) take_rounded(products, call.weight, *call.rounded_x, x, p);
    uint32_t n_matrices = call.weight.n_experts;
    r.recording.note(work_of(call.weight, shard, n_matrices, uint64_t(call.n_rows) * n_matrices, call.epilogue, products));
    r.recording.dispatch(kernel, bindings(kernel, call.weight, shard, x, call.y, shard.bases, shard.bases, shard.bases), p,
                         uint32_t(ceil_div(call.n_rows, rows_of(r, height))), row_groups(r, call.weight, height),
                         call.weight.n_experts);
  }
}

void expert_matmul(Recorder& r, const ExpertMatmul& call) {
  const auto& [weight, x, y, routing, use, scaled_input, epilogue, activation, rounded_x] = call;
  for (const WeightShard& shard : weight.shards) {
    MatmulParams p = params_of(weight, shard, x, y);
    p.x_div = use == 0 ? routing.uses() : 0;
    p.activation = activation;
    BufferView weights = scaled_input ? routing.weights : BufferView(shard.bases);
    if (routing.direct()) {
      const Kernel& kernel = matmul_kernel(r, weight, 0, ROWS_DIRECT, epilogue, activation.kind, Products::exact, scaled_input);
      r.recording.note(work_of(weight, shard, routing.uses(), routing.uses(), epilogue, Products::exact));
      r.recording.dispatch(kernel, bindings(kernel, weight, shard, x, y, shard.bases, routing.ids, weights), p, routing.uses(),
                           row_groups(r, weight, 0));
      continue;
    }
    for (uint32_t height = 0; height < TILE_HEIGHTS; ++height) {
      if (routing.n_tokens < least_rows(r, height)) continue;  // no expert has so many rows
      Products products = Products::exact;
      if (height == staged_height && rounded_x) products = products_of(r, weight, routing.n_tokens);
      const Kernel& kernel = matmul_kernel(r, weight, height, ROWS_SORTED, epilogue, activation.kind, products, scaled_input);
      Rows from = x;
      if (products != Products::exact) take_rounded(products, weight, *rounded_x, from, p);
      p.tile_first = height * routing.tile_capacity;
      BufferView groups = routing.groups;
      groups.offset += (height * 2 + use) * DISPATCH_WORDS * 4;
      groups.size = 12;
      note_tiles(r, weight, shard, routing, p.tile_first, groups, epilogue, products);
      r.recording.dispatch_indirect(kernel, bindings(kernel, weight, shard, from, y, routing.tiles, routing.sorted, weights), &p,
                                    sizeof(p), groups);
    }
  }
}

MatmulGroups matmul_groups(Recorder& r, const Weight& gate_up, const Weight& down) {
  MatmulGroups groups = {};
  for (uint32_t height = 0; height < TILE_HEIGHTS; ++height) {
    if (height == staged_height && !r.tuning.staged.lanes) continue;
    groups.rows[height][0] = row_groups(r, gate_up, height);
    groups.rows[height][1] = row_groups(r, down, height);
  }
  return groups;
}

void embed(Recorder& r, const Weight& table, BufferView tokens, Rows y, uint32_t n_tokens, float scale) {
  const Kernel& kernel = r.device.kernel(kernel_name("embed", *table.format), {r.tuning.lanes, r.tuning.exact_halves});
  for (const WeightShard& shard : table.shards) {
    EmbedParams p = {};
    p.n_tokens = n_tokens;
    p.blocks = table.blocks;
    p.tile_quads = table.tile_quads;
    p.tail_word = table.tail_word;
    p.shard_first = shard.first_tile;
    p.shard_tiles = shard.n_tiles;
    p.y_stride = y.stride;
    p.scale = scale;
    uint64_t values = uint64_t(n_tokens) * table.k;
    if (&shard == &table.shards[0]) r.recording.note({n_tokens * uint64_t(table.tile_quads) * 16 / TILE_ROWS + values * 4, values});
    r.recording.dispatch(kernel, {shard.tiles, tokens, y.view}, p, n_tokens);
  }
}

}  // namespace vkmoe
