// Weight formats: how values lie in a file, and how they are split for the device. One file under formats/ and one
// row of the table in format.cpp for each.
//
// On the device a matrix (n rows, k columns) is cut into tiles of 32 rows, and these into strips of 8. In a tile, device
// block b of row r contributes `quads` units of 16 bytes, at [((b * 4 + r / 8) * quads + q) * 8 + r % 8] in units of 16
// bytes, and `tail_bytes` further bytes to row r's tail, whose 32-bit words follow all quads of the tile at [w * 32 + r].
// Neighbouring lanes own neighbouring rows, so all loads are wide and coalesced, on any device, with no 8- or 16-bit
// storage, and eight lanes read a tile from its beginning to its end, as prefetchers of processors like it. Whatever the
// size of a device block, kernels walk along a row by 32 values, so every format is summed in the same order. The
// codebook, where there is one, follows the last tile of a shard.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vkmoe {

constexpr uint32_t no_ggml_type = UINT32_MAX;

struct Format {
  const char* name;       // as ggml spells it: "Q8_0"
  uint32_t ggml_type;     // number in a GGUF, or no_ggml_type
  uint32_t block_elems;   // values in a block: 32, 64, 128 or 256; 1 where values stand alone (F32, F16, BF16)
  uint32_t block_bytes;   // bytes of a block in a file
  uint32_t device_elems;  // values in a block on the device: 32, 64 or 256
  uint32_t quads;         // 16-byte units of a device block
  uint32_t tail_bytes;    // further bytes of a device block
  // One file block -> block_elems float32.
  void (*decode)(const uint8_t* block, float* values);
  // device_elems values' worth of file blocks -> quads * 16 bytes and tail_bytes bytes.
  void (*split)(const uint8_t* blocks, uint8_t* quads, uint8_t* tail);
  // The inverse of decode, with little error (formats/fit.h). False where a value is not finite or is larger than the
  // format holds. nullptr: vkmoe reads the format and does not make it.
  bool (*encode)(const float* values, uint8_t* block) = nullptr;
  const uint32_t* codebook = nullptr;  // what indices in the blocks stand for
  uint32_t codebook_words = 0;
};

// Every format that can be read.
const std::vector<const Format*>& all_formats();

// nullptr when unknown.
const Format* find_format(uint32_t ggml_type);
const Format* find_format(const std::string& name);

// "Q4_K"; nullptr when ggml has no such type. Knows types that find_format() does not, for messages.
const char* ggml_type_name(uint32_t ggml_type);

// Values [first, first + count) of a row that starts at `row`; first and count are multiples of block_elems.
void decode_row(const Format& format, const uint8_t* row, uint64_t first, uint64_t count, float* values);

// Bytes of a row of k values in a file. k is a multiple of block_elems.
inline uint64_t row_bytes(const Format& format, uint64_t k) { return k / format.block_elems * format.block_bytes; }

}  // namespace vkmoe
