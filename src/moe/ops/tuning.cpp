#include <algorithm>
#include <bit>

#include "moe/ops/ops.h"

namespace vkmoe {
namespace {

constexpr uint32_t arm = 0x13b5, amd = 0x1002, intel = 0x8086, qualcomm = 0x5143;  // vendor ids

}  // namespace

const char* products_name(Products products) {
  return products == Products::int8 ? "int8" : products == Products::fp16 ? "fp16" : "float32";
}

// A processor: loads dominate, so each invocation owns many rows and shares each value of x among them; workgroups are one
// vector wide, and few dispatches matter more than many workgroups.
Tuning Tuning::cpu(const Caps& caps) {
  Tuning t;
  for (Matmul& shape : t.matmul) shape = {4, 1, 1};
  t.matmul[0].pairs = 2;
  t.whole_tile = TILE_HEIGHT_2;
  t.staged = {0, 4, 17};
  t.products = Products::exact;
  t.storage16 = false;
  // llvmpipe, and not SwiftShader.
  t.texels = caps.max_texels >= caps.max_binding_bytes / 4 && caps.subgroup_shuffle && caps.subgroup_size == 8;
  t.half_cache = false;
  t.share_keys = false;
  t.attention_sums = 40;
  t.attention_ahead = 1;
  t.lanes = t.head_lanes = t.row_lanes = 8;
  t.sample_lanes = 128;
  t.fused_router_bytes = 512 << 10;
  t.most_iterations = 60000;
  t.exact_halves = caps.exact_halves;
  return t;
}

// A GPU: many invocations hide the latency of memory, so segments are shared out and each owns one row. Where a subgroup
// has 64 invocations at least, half of them would be idle in a workgroup of 32. Mali has 64 registers an invocation: taller
// tiles and more queries would spill (bench/compilers.md).
Tuning Tuning::gpu(const Caps& caps) {
  bool few_registers = caps.vendor_id == arm;
  Tuning t;
  t.matmul[0] = {1, 4, 1};
  t.matmul[1] = {1, 2, 1};
  t.matmul[2] = {1, 2, 1};
  // What is loaded of x serves two rows, of both tiles of a pair or of two: loads are what these GPUs are slowest at.
  if (caps.vendor_id == qualcomm) t.matmul[0].pairs = 2;
  if (few_registers) t.matmul[1] = t.matmul[2] = {2, 4, 1};
  if (few_registers || caps.vendor_id == qualcomm) t.most_rows = 2;
  t.storage16 = caps.exact_storage16 && caps.vendor_id == qualcomm;
  // Fuller than half, it costs less than tiles of 8. 32 sums of an invocation save loads where there are registers for them.
  t.staged = {few_registers ? 0u : 128u, 4, 17};
  if (caps.vendor_id == amd || caps.vendor_id == qualcomm) t.staged = {64, 8, 17};
  t.products = caps.integer_dot_accelerated ? Products::int8 : Products::exact;
  // Intel's matrices of 8 columns (Alchemist) are no faster than its packed integers.
  if (caps.cooperative_matrix.m && (caps.vendor_id != intel || caps.cooperative_matrix.n >= 16)) t.products = Products::fp16;
  t.whole_tile = few_registers ? TILE_HEIGHT_1 : TILE_HEIGHT_2;
  t.texels = false;
  t.half_cache = true;
  t.share_keys = true;
  t.attention_sums = few_registers ? 4 : 40;
  t.attention_ahead = few_registers ? 1 : 8;
  t.lanes = 64;
  t.head_lanes = few_registers ? 64 : std::clamp(caps.min_subgroup_size, 32u, 64u);
  // A decoded token is one row: a single workgroup waits for memory in turns, the fewer the more invocations it has.
  // On Adreno 660 the router has registers for no more than 256.
  t.row_lanes = std::bit_floor(std::min(caps.max_invocations, caps.vendor_id == qualcomm ? 256u : 512u));
  t.sample_lanes = std::bit_floor(std::min({caps.max_invocations, 1024u, caps.max_shared_bytes / 32}));
  t.fused_router_bytes = 512 << 10;
  t.most_iterations = 0xffffffffu;
  t.exact_halves = caps.exact_halves;
  return t;
}

Tuning Tuning::of(const Caps& caps) { return caps.type == "cpu" ? cpu(caps) : gpu(caps); }

}  // namespace vkmoe
