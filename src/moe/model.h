// A model on a device: its weights, placed, and the text side that belongs to it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "moe/model_spec.h"
#include "moe/weights.h"

namespace vkmoe {

// A decoder layer's attention to the encoder's output.
struct DeviceCross {
  Buffer norm;
  Weight q, o;
  std::vector<Weight> kv;  // one below the other: one Weight where the formats agree, else two
};

struct DeviceLayer {
  Buffer attention_norm, ffn_norm;            // (hidden) f32; of a LayerNorm (2, hidden): weights, then biases
  Buffer attention_post_norm, ffn_post_norm;  // (hidden), with post_norms
  Buffer qk_norms;                  // queries, keys: a head or all heads each; unused without qk_norm
  Buffer sinks;                     // (n_heads) f32, where has_sinks
  bool has_sinks = false;
  std::vector<Weight> qkv;          // one below the other: one Weight where the formats agree, else three
  Buffer q_a_norm, kv_a_norm;       // latent attention; qkv is then (q_a or q) and kv_a
  Weight q_b, k_b, v_b;             // queries from their latent; (heads, kv_rank, nope_dim), (heads, value_dim, kv_rank)
  Weight o;
  bool has_experts = false;
  Weight router;                    // (n_experts, hidden), or one row more with gated_shared
  Weight gate_up;                   // paired where gated; one expert in a dense layer
  Weight down;
  uint32_t n_shared = 0;            // experts of gate_up and down behind the others: LayerExperts
  bool gated_shared = false;
  Buffer router_bias;               // read where the model has one
  DeviceCross cross;                // of a decoder
  Weight shared_gate_up, shared_down, shared_router;  // of a shared expert apart; no shards where there is no such weight
};

struct Model {
  std::shared_ptr<Device> device;
  Hyper hyper;
  ParameterCount parameters;
  Weight embedding, head;  // head.shards is empty when the embedding serves as the head
  Buffer final_norm;
  Buffer position_bias;  // (n_heads, 2 position_distance + 1), read where there are position_buckets
  std::vector<DeviceLayer> layers;
  bool own_embedding = false;      // of an encoder; else its model's serves
  std::shared_ptr<Model> encoder;

  const Weight& output() const { return head.shards.empty() ? embedding : head; }
  uint64_t weight_bytes() const;  // on the device
  uint32_t most_shared() const;   // DeviceLayer::n_shared of any layer
};

// progress: bytes placed, bytes in all; may throw to cancel.
std::shared_ptr<Model> place_model(std::shared_ptr<Device> device, const ModelSpec& spec,
                                   const std::function<void(uint64_t, uint64_t)>& progress);

// The same without any buffer: all that the choice of kernels hangs on.
std::shared_ptr<Model> model_shapes(std::shared_ptr<Device> device, const ModelSpec& spec);

}  // namespace vkmoe
