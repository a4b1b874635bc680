// Tables of positions that are added to embeddings or to attention scores, made on the host for device and reference.
#pragma once
#include "moe/model_spec.h"

namespace vkmoe {

// (1 + count, width): row 0 is zero, for padding; row i is fairseq's sinusoidal embedding of position padding_id + i, with
// sines in the first half and cosines in the second.
std::vector<float> sinusoidal_positions(uint32_t count, uint32_t width, uint32_t padding_id);

// T5's bucket (Raffel et al. 2020) of a key `distance` tokens after the query, negative before it; n_buckets at least 4.
uint32_t position_bucket(int distance, bool bidirectional, uint32_t n_buckets, uint32_t max_distance);

// (n_heads, 2 position_distance + 1): the bias of scores by distance from -position_distance on; beyond it stays as it is.
// buckets: (position_buckets, n_heads).
std::vector<float> position_bias(const Hyper& h, const std::vector<float>& buckets);

}  // namespace vkmoe
