// Weights on the device: matrices cut into tiles of 32 rows (loader/format.h), tiles into shards that fit a binding. A
// table per shard says where each expert's tiles begin, so that experts may lie anywhere, or not at all.
#pragma once
#include <functional>
#include <vector>

#include "moe/model_spec.h"
#include "runtime/device.h"

namespace vkmoe {

struct WeightShard {
  Buffer tiles;
  Buffer bases;         // (experts) i32: tile of the shard at which an expert begins; may be negative or beyond the shard
  uint32_t n_tiles = 0;
  uint32_t first_tile = 0;
};

struct Weight {
  const Format* format = nullptr;
  uint32_t n_experts = 1;
  uint32_t n = 0, k = 0;      // rows of an expert (of the gate alone when paired), columns
  bool paired = false;        // tiles alternate gate, up
  uint32_t expert_tiles = 0;  // tiles of an expert
  uint32_t blocks = 0, tile_quads = 0, tail_word = 0;
  std::vector<WeightShard> shards;
  bool biased = false;
  Buffer bias;  // (n_experts, n) f32, paired: (n_experts, 2, n), if biased

  uint64_t bytes() const {
    return uint64_t(tile_quads) * 16 * expert_tiles * n_experts + (bias ? bias.size() : 0);
  }
};

// Called with bytes placed since the last call; may throw to cancel.
using Placed = std::function<void(uint64_t bytes)>;

// up: nullptr, or the second matrix of a pair, with a bias if the first has one. Matrices of several formats become F32, and any
// with as_f32.
// Fails with VKMOE_ERROR_UNSUPPORTED where 32 rows do not fit a binding.
Weight place_weight(Device& device, const Matrix& matrix, const Matrix* up, const std::string& name, const Placed& placed,
                    bool as_f32 = false);

// The same without its buffers: all that the choice of kernels hangs on.
Weight weight_shape(const Caps& caps, const Matrix& matrix, const Matrix* up, const std::string& name, bool as_f32 = false);

// Several matrices with the same columns, one below the other; one format and biases for all or none.
Matrix stack(const std::vector<const Matrix*>& parts);

// The experts of a layer as one matrix each, and the router. Where formats and sizes allow, the expert that every token uses
// follows the others, cut into pieces of their size (rows of gate and up, columns of down; the sum over its hidden units is
// that over the pieces), and what it weighs is one more row of the router: so it takes no dispatches of its own.
struct LayerExperts {
  Matrix gate, up, down, router;
  uint32_t n_shared = 0;      // pieces behind the others; 0: none
  bool gated_shared = false;  // the router's last row is theirs
};
LayerExperts layer_experts(const Hyper& h, const LayerSpec& spec);
uint32_t shared_pieces(const Hyper& h, const LayerSpec& spec);  // its n_shared
constexpr uint32_t most_pieces = 8;  // more would cost more in sums of their outputs than they save

// A matrix with rows and columns of each expert exchanged, in memory; as F32 where the format has blocks. Its values are there
// after fill().
class Transposed {
 public:
  explicit Transposed(const Matrix& of);
  void fill();
  Transposed(const Transposed&) = delete;
  const Matrix& matrix() const { return matrix_; }

 private:
  const Matrix& of_;
  Matrix matrix_;
  Tensor tensor_;
  std::vector<uint8_t> bytes_;
};

Buffer place_vector(Device& device, const std::vector<float>& values, const std::string& name);
std::vector<float> vector_values(const Tensor& tensor);

// Floats between rows of activations with k columns: whole blocks of 32.
inline uint32_t row_stride(uint32_t k) { return (k + 31) / 32 * 32; }

}  // namespace vkmoe
