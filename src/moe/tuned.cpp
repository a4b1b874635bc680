#include "moe/tuned.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/output_file.h"
#include "runtime/kernel.h"

namespace vkmoe {
namespace {

constexpr uint64_t most_file_bytes = 1 << 20;
constexpr uint32_t heights[TILE_HEIGHTS - 1] = {TILE_HEIGHT_0, TILE_HEIGHT_1, TILE_HEIGHT_2};
constexpr uint32_t most_sums = 64;  // that an invocation of matmul.comp keeps, for rows times tokens

// FNV-1a over all kernels: a choice was measured, and checked, with these.
std::string kernels_checksum() {
  uint64_t hash = 0xcbf29ce484222325;
  for (const KernelBinary& kernel : embedded_kernels())
    for (uint32_t i = 0; i < kernel.word_count; ++i) hash = (hash ^ kernel.words[i]) * 0x100000001b3;
  return cat(std::hex, hash);
}

struct Stored {
  nlohmann::json choices = nlohmann::json::object();  // by shape set
  std::string broken;                                 // why the file is none
};

// Choices for these kernels; empty where the file was written with others.
Stored read_choices(const std::string& path) {
  Stored stored;
  std::error_code error;
  uint64_t size = std::filesystem::file_size(path, error);
  if (error) return stored;
  if (size > most_file_bytes) {
    stored.broken = cat("expected at most ", most_file_bytes, " bytes, found ", size);
    return stored;
  }
  std::ifstream in(path, std::ios::binary);
  nlohmann::json file = nlohmann::json::parse(in, nullptr, false);
  if (!file.is_object() || !file.contains("kernels") || !file.contains("choices") || !file["choices"].is_object())
    stored.broken = "expected a JSON object with \"kernels\" and \"choices\"";
  else if (file["kernels"] == kernels_checksum())
    stored.choices = file["choices"];
  return stored;
}

void warn(const std::string& path, const std::string& why) {
  static bool warned = false;
  if (!warned) std::fprintf(stderr, "vkmoe: warning: no stored tuning: %s: %s\n", path.c_str(), why.c_str());
  warned = true;
}

std::string extension() { return ".tuning.json"; }

}  // namespace

std::string shape_set(const Model& model) {
  std::set<std::string> matrices;
  auto add = [&](const Weight& w) {
    if (w.shards.empty()) return;
    matrices.insert(cat(w.format->name, " ", w.n_experts, "x", w.paired ? "2x" : "", w.n, "x", w.k));
  };
  for (const DeviceLayer& l : model.layers) {
    for (const Weight& w : l.qkv) add(w);
    for (const Weight* w : {&l.q_b, &l.k_b, &l.v_b, &l.o, &l.router, &l.gate_up, &l.down, &l.shared_gate_up, &l.shared_down})
      add(*w);
  }
  add(model.output());
  const Hyper& h = model.hyper;
  std::string text = cat("attention ", h.n_heads, "x", h.n_kv_heads, "x", h.head_dim, ", top ", h.top_k);
  for (const std::string& matrix : matrices) text += ", " + matrix;
  return text;
}

bool possible(const Tuning::Matmul& shape, uint32_t height, bool texels, const Caps& caps) {
  auto power = [](uint32_t v, uint32_t most) { return v >= 1 && v <= most && (v & (v - 1)) == 0; };
  if (!power(shape.lane_rows, TILE_ROWS) || !power(shape.split, MATMUL_SEGMENTS) || !power(shape.pairs, 4))
    return false;
  uint32_t lanes = TILE_ROWS / shape.lane_rows * shape.split, sums = 2 * shape.lane_rows * shape.pairs * heights[height];
  return (texels ? lanes == 8 && shape.split == 1 : lanes <= caps.max_invocations) && sums <= most_sums;
}

bool possible(const Tuning::Int8& int8, const Caps& caps) {
  bool lanes = int8.lanes == 64 || int8.lanes == 128;
  return lanes && int8.lanes <= caps.max_invocations && (int8.lane_rows == 4 || int8.lane_rows == 8);
}

bool possible(const Tuning::Staged& staged, const Caps& caps) {
  return possible(Tuning::Int8{staged.lanes ? staged.lanes : 64, staged.lane_rows}, caps) && staged.from > 1;
}

bool possible(Products products, const Caps& caps) {
  return products == Products::exact || (products == Products::int8 ? caps.integer_dot : caps.cooperative_matrix.m != 0);
}

nlohmann::ordered_json to_json(const Tuning& tuning) {
  nlohmann::ordered_json matmul = nlohmann::ordered_json::array();
  for (const Tuning::Matmul& m : tuning.matmul)
    matmul.push_back({{"lane_rows", m.lane_rows}, {"split", m.split}, {"pairs", m.pairs}});
  const Tuning::Staged& s = tuning.staged;
  return {{"matmul", matmul},
          {"staged", {{"lanes", s.lanes}, {"lane_rows", s.lane_rows}, {"from", s.from}}},
          {"products", products_name(tuning.products)},
          {"int8", {{"lanes", tuning.int8.lanes}, {"lane_rows", tuning.int8.lane_rows}}},
          {"share_keys", tuning.share_keys},
          {"fused_router_bytes", tuning.fused_router_bytes}};
}

Tuning from_json(const nlohmann::json& json, const Tuning& base, const Caps& caps) {
  Tuning tuning = base;
  for (uint32_t height = 0; height < TILE_HEIGHTS - 1; ++height) {
    const nlohmann::json& m = json.at("matmul").at(height);
    tuning.matmul[height] = {m.at("lane_rows"), m.at("split"), m.at("pairs")};
    if (!possible(tuning.matmul[height], height, tuning.texels, caps))
      throw std::out_of_range(cat("matmul ", height, ": expected a shape that the kernels have, found ", m.dump()));
  }
  const nlohmann::json& s = json.at("staged");
  tuning.staged = {s.at("lanes"), s.at("lane_rows"), s.at("from")};
  if (!possible(tuning.staged, caps))
    throw std::out_of_range(cat("staged: expected a shape that the kernel has, found ", s.dump()));
  for (Products products : {Products::exact, Products::int8, Products::fp16})
    if (json.at("products") == products_name(products) && possible(products, caps)) tuning.products = products;
  if (json.at("products") != products_name(tuning.products))
    throw std::out_of_range(cat("products: expected what the device multiplies, found ", json.at("products").dump()));
  const nlohmann::json& i = json.at("int8");
  tuning.int8 = {i.at("lanes"), i.at("lane_rows")};
  if (!possible(tuning.int8, caps))
    throw std::out_of_range(cat("int8: expected a shape that the kernel has, found ", i.dump()));
  tuning.share_keys = json.at("share_keys");
  tuning.fused_router_bytes = json.at("fused_router_bytes");
  return tuning;
}

std::optional<Tuning> stored_tuning(const Model& model) {
  std::string path = model.device->cache_path(extension());
  if (path.empty()) return std::nullopt;
  Stored stored = read_choices(path);
  if (!stored.broken.empty()) warn(path, stored.broken);
  auto found = stored.choices.find(shape_set(model));
  if (found == stored.choices.end()) return std::nullopt;
  try {
    return from_json(*found, Tuning::of(model.device->caps()), model.device->caps());
  } catch (const std::exception& error) {
    warn(path, error.what());
    return std::nullopt;
  }
}

std::string store_tuning(const Model& model, const Tuning& tuning) {
  std::string path = model.device->cache_path(extension());
  if (path.empty()) fail(VKMOE_ERROR_NOT_FOUND, "there is no folder for what was measured: set VKMOE_CACHE_DIR");
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) fail(VKMOE_ERROR_NOT_FOUND, path, ": ", error.message());
  nlohmann::ordered_json choices = read_choices(path).choices;
  choices[shape_set(model)] = to_json(tuning);
  std::string text = nlohmann::ordered_json{{"kernels", kernels_checksum()}, {"choices", choices}}.dump(2) + "\n";
  OutputFile file(path, text.size());
  file.write(text.data(), text.size());
  file.commit();
  return path;
}

Tuning tuning_for(const Model& model) { return stored_tuning(model).value_or(Tuning::of(model.device->caps())); }

}  // namespace vkmoe
