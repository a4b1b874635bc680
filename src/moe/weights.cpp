#include "moe/weights.h"

#include <algorithm>
#include <cstring>

#include "base/numeric.h"
#include "base/parallel.h"
#include "shared/matmul.h"

namespace vkmoe {
namespace {

// One row of the file as device blocks: quads and tails of all blocks. Rows whose length is no multiple of a device block
// are padded with zeros.
class RowSplitter {
 public:
  RowSplitter(const Format& device_format, uint32_t k) : format_(device_format), k_(k) {
    uint32_t blocks = uint32_t(ceil_div(k, device_format.device_elems));
    padded_.resize(blocks * device_format.device_elems / device_format.block_elems * device_format.block_bytes);
    quads_.resize(size_t(blocks) * device_format.quads * 16);
    tail_.resize(round_up(size_t(blocks) * device_format.tail_bytes, 4));
  }

  // A row in the file's format; decoded to float32 when that is not the device's.
  void split(const uint8_t* row, const Format& row_format) {
    if (&row_format == &format_) {
      std::memcpy(padded_.data(), row, row_bytes(format_, k_));
    } else {
      decode_row(row_format, row, 0, k_, reinterpret_cast<float*>(padded_.data()));
    }
    uint32_t file_bytes = format_.device_elems / format_.block_elems * format_.block_bytes;
    for (size_t b = 0; b * file_bytes < padded_.size(); ++b)
      format_.split(padded_.data() + b * file_bytes, quads_.data() + b * format_.quads * 16,
                    tail_.data() + b * format_.tail_bytes);
  }
  const std::vector<uint8_t>& quads() const { return quads_; }
  const std::vector<uint8_t>& tail() const { return tail_; }

 private:
  const Format& format_;
  uint32_t k_;
  std::vector<uint8_t> padded_, quads_, tail_;
};

struct TileSource {
  const Matrix& matrix;
  const Matrix* up;
  const Weight& weight;

  // Writes tile `tile` (expert-major) to out, tile_quads * 16 bytes.
  void write(uint32_t tile, uint8_t* out) const {
    uint32_t expert = tile / weight.expert_tiles, in_expert = tile % weight.expert_tiles;
    const Matrix& from = weight.paired && in_expert % 2 ? *up : matrix;
    uint32_t first_row = (weight.paired ? in_expert / 2 : in_expert) * TILE_ROWS;
    RowSplitter splitter(*weight.format, weight.k);
    std::vector<uint8_t> scratch;
    std::memset(out, 0, size_t(weight.tile_quads) * 16);
    for (uint32_t r = 0; r < TILE_ROWS && first_row + r < from.n; ++r) {
      const Format* format;
      const uint8_t* row = from.row(expert, first_row + r, &format, scratch);
      splitter.split(row, *format);
      size_t n = weight.format->quads;
      for (size_t q = 0; q * 16 < splitter.quads().size(); ++q) {
        size_t strip = q / n * (TILE_ROWS / STRIP_ROWS) + r / STRIP_ROWS, at = (strip * n + q % n) * STRIP_ROWS + r % STRIP_ROWS;
        std::memcpy(out + at * 16, splitter.quads().data() + q * 16, 16);
      }
      for (size_t w = 0; w * 4 < splitter.tail().size(); ++w)
        std::memcpy(out + size_t(weight.tail_word) * 4 + (w * TILE_ROWS + r) * 4, splitter.tail().data() + w * 4, 4);
    }
  }

  // Tiles first .. end - 1 were written.
  void release(uint64_t first, uint64_t end) const {
    uint64_t of_rows = weight.paired ? 2 : 1;
    for (uint64_t tile = first; tile < end;) {
      uint64_t expert = tile / weight.expert_tiles, begin = expert * weight.expert_tiles;
      uint64_t stop = std::min<uint64_t>(end, begin + weight.expert_tiles);
      auto row = [&](uint64_t t) { return uint32_t(t / of_rows * TILE_ROWS); };
      matrix.release(uint32_t(expert), row(tile - begin), row(stop - begin + of_rows - 1));
      if (up) up->release(uint32_t(expert), row(tile - begin), row(stop - begin + of_rows - 1));
      tile = stop;
    }
  }
};

}  // namespace

Weight weight_shape(const Caps& caps, const Matrix& matrix, const Matrix* up, const std::string& name, bool as_f32) {
  Weight weight;
  bool same = !as_f32 && matrix.one_format() && (!up || (up->one_format() && &up->format() == &matrix.format()));
  weight.format = same ? &matrix.format() : find_format("F32");
  const Format& f = *weight.format;
  weight.n_experts = uint32_t(matrix.experts.size());
  weight.n = matrix.n;
  weight.k = matrix.k;
  weight.paired = up != nullptr;
  weight.biased = !matrix.bias.empty();
  weight.expert_tiles = uint32_t(ceil_div(matrix.n, TILE_ROWS)) * (up ? 2 : 1);
  weight.blocks = uint32_t(ceil_div(matrix.k, 32));
  uint64_t device_blocks = ceil_div(matrix.k, f.device_elems), quads = device_blocks * f.quads * TILE_ROWS;
  uint64_t tile_quads = quads + ceil_div(device_blocks * f.tail_bytes, 4) * TILE_ROWS / 4;
  uint64_t tile_bytes = tile_quads * 16, n_tiles = uint64_t(weight.expert_tiles) * weight.n_experts;
  uint64_t unit = weight.paired ? 2 : 1;  // a pair is never parted
  uint64_t limit = std::min(caps.max_binding_bytes, caps.max_allocation_bytes);
  limit = std::min<uint64_t>(limit, uint64_t(1) << 32);  // 32-bit word indices
  uint64_t shard_tiles = (limit - f.codebook_words * 4) / tile_bytes / unit * unit;
  if (shard_tiles == 0)
    fail(VKMOE_ERROR_UNSUPPORTED, name, ": ", tile_bytes * unit, " bytes of 32 rows do not fit a binding of ", limit);
  if (n_tiles > INT32_MAX)  // tables of shards hold tiles as int32
    fail(VKMOE_ERROR_UNSUPPORTED, name, ": ", n_tiles, " tiles of 32 rows, expected at most ", INT32_MAX);
  weight.tail_word = uint32_t(quads * 4);
  weight.tile_quads = uint32_t(tile_quads);
  for (uint64_t first = 0; first < n_tiles; first += shard_tiles)
    weight.shards.push_back({{}, {}, uint32_t(std::min(shard_tiles, n_tiles - first)), uint32_t(first)});
  return weight;
}

Weight place_weight(Device& device, const Matrix& matrix, const Matrix* up, const std::string& name, const Placed& placed,
                    bool as_f32) {
  Weight weight = weight_shape(device.caps(), matrix, up, name, as_f32);
  const Format& f = *weight.format;
  uint64_t tile_bytes = uint64_t(weight.tile_quads) * 16, codebook_bytes = f.codebook_words * 4;
  TileSource source{matrix, up, weight};
  for (WeightShard& shard : weight.shards) {
    uint64_t first = shard.first_tile;
    shard.tiles = device.create_buffer(shard.n_tiles * tile_bytes + codebook_bytes, MemoryUse::device, name);
    if (f.codebook) device.upload(shard.tiles, shard.n_tiles * tile_bytes, f.codebook, codebook_bytes);
    // Pieces begin and end anywhere; whole tiles are made in parallel and cut.
    device.upload(shard.tiles, 0, shard.n_tiles * tile_bytes, [&](uint64_t at, uint64_t count, void* out) {
      uint64_t from = at / tile_bytes, to = ceil_div(at + count, tile_bytes);
      parallel_for(to - from, [&](uint64_t i) {
        uint64_t begin = (from + i) * tile_bytes, end = begin + tile_bytes;
        uint64_t low = std::max(begin, at), high = std::min(end, at + count);
        if (low == begin && high == end) {
          source.write(uint32_t(first + from + i), static_cast<uint8_t*>(out) + (begin - at));
        } else {
          std::vector<uint8_t> tile(tile_bytes);
          source.write(uint32_t(first + from + i), tile.data());
          std::memcpy(static_cast<uint8_t*>(out) + (low - at), tile.data() + (low - begin), high - low);
        }
      });
      source.release(first + from, first + (at + count) / tile_bytes);
      placed(count);
    });
    std::vector<int32_t> bases(weight.n_experts);
    for (uint32_t e = 0; e < weight.n_experts; ++e)
      bases[e] = int32_t(int64_t(e) * weight.expert_tiles - int64_t(first));
    shard.bases = device.create_buffer(bases.size() * 4, MemoryUse::device, name + " table");
    device.upload(shard.bases, 0, bases.data(), bases.size() * 4);
  }
  std::vector<float> bias;
  for (uint32_t e = 0; !matrix.bias.empty() && e < weight.n_experts; ++e) {
    for (const Matrix* m : {&matrix, up}) {
      if (!m) continue;
      std::vector<float> values = m->bias_values(e);
      bias.insert(bias.end(), values.begin(), values.end());
    }
  }
  if (!bias.empty()) weight.bias = place_vector(device, bias, name + " bias");
  return weight;
}

Matrix stack(const std::vector<const Matrix*>& parts) {
  Matrix whole{0, parts[0]->k, {}, {}};
  whole.experts.resize(parts[0]->experts.size());
  whole.bias.resize(parts[0]->bias.size());
  for (const Matrix* part : parts) {
    whole.n += part->n;
    for (size_t e = 0; e < whole.experts.size(); ++e)
      whole.experts[e].insert(whole.experts[e].end(), part->experts[e].begin(), part->experts[e].end());
    for (size_t e = 0; e < whole.bias.size(); ++e)
      whole.bias[e].insert(whole.bias[e].end(), part->bias[e].begin(), part->bias[e].end());
  }
  return whole;
}

uint32_t shared_pieces(const Hyper& h, const LayerSpec& spec) {
  auto follows = [](const Matrix& experts, const Matrix& shared) {
    return experts.one_format() && shared.one_format() && &experts.format() == &shared.format() && experts.bias.empty() &&
           shared.bias.empty() && shared.experts[0].size() == 1 && shared.experts[0][0].column_step == 0;
  };
  if (!spec.router || !spec.shared_gate || h.gate.drop != DROP_NONE || h.gate.choose == CHOOSE_TREE) return 0;
  if (!follows(spec.gate, spec.shared_gate) || !follows(spec.up, spec.shared_up) || !follows(spec.down, spec.shared_down)) return 0;
  if (spec.shared_router && !(spec.router.bias.empty() && spec.shared_router.bias.empty())) return 0;
  uint32_t pieces = h.shared_ff / h.expert_ff;
  if (h.shared_ff % h.expert_ff != 0 || pieces > most_pieces) return 0;
  bool within_block = pieces > 1 && h.expert_ff % spec.down.format().block_elems != 0;  // a piece would begin there
  return within_block ? 0 : pieces;
}

LayerExperts layer_experts(const Hyper& h, const LayerSpec& spec) {
  LayerExperts made = {spec.gate, spec.up, spec.down, spec.router, shared_pieces(h, spec)};
  made.gated_shared = made.n_shared && spec.shared_router;
  if (made.gated_shared) made.router = stack({&spec.router, &spec.shared_router});
  for (uint32_t piece = 0; piece < made.n_shared; ++piece) {
    Matrix::Span gate = spec.shared_gate.experts[0][0], up = spec.shared_up.experts[0][0], down = spec.shared_down.experts[0][0];
    for (Matrix::Span* rows : {&gate, &up}) {
      rows->first_row += uint64_t(piece) * h.expert_ff * rows->row_step;
      rows->rows = h.expert_ff;
    }
    down.first_column = piece * h.expert_ff;
    made.gate.experts.push_back({gate});
    made.up.experts.push_back({up});
    made.down.experts.push_back({down});
  }
  return made;
}

Transposed::Transposed(const Matrix& of) : of_(of) {
  bool plain = of.one_format() && of.format().block_elems == 1;
  const Format& format = plain ? of.format() : *find_format("F32");
  uint64_t bytes = uint64_t(of.n) * of.k * of.experts.size() * format.block_bytes;
  tensor_ = {of.experts[0][0].tensor->name, &format, {of.experts.size(), of.k, of.n}, nullptr, bytes};
  matrix_ = {of.k, of.n, {}, {}};
  for (size_t e = 0; e < of.experts.size(); ++e) matrix_.experts.push_back({{&tensor_, e * of.k, of.k, 1}});
}

void Transposed::fill() {
  const Matrix& of = of_;
  bool plain = &of.format() == tensor_.format && of.one_format();
  size_t value_bytes = tensor_.format->block_bytes, expert_bytes = size_t(of.n) * of.k * value_bytes;
  bytes_.resize(tensor_.size_bytes);
  parallel_for(of.experts.size(), [&](uint64_t e) {
    std::vector<float> decoded(plain ? 0 : of.k);
    std::vector<uint8_t> scratch;
    for (uint32_t r = 0; r < of.n; ++r) {
      const Format* from;
      const uint8_t* row = of.row(uint32_t(e), r, &from, scratch);
      if (!plain) {
        decode_row(*from, row, 0, of.k, decoded.data());
        row = reinterpret_cast<const uint8_t*>(decoded.data());
      }
      for (size_t c = 0; c < of.k; ++c)
        std::memcpy(&bytes_[e * expert_bytes + (c * of.n + r) * value_bytes], row + c * value_bytes, value_bytes);
    }
  });
  tensor_.data = bytes_.data();
}

Buffer place_vector(Device& device, const std::vector<float>& values, const std::string& name) {
  Buffer buffer = device.create_buffer(values.size() * 4, MemoryUse::device, name);
  device.upload(buffer, 0, values.data(), values.size() * 4);
  return buffer;
}

std::vector<float> vector_values(const Tensor& tensor) {
  std::vector<float> values(tensor.elems());
  decode_row(*tensor.format, tensor.data, 0, values.size(), values.data());
  return values;
}

}  // namespace vkmoe
