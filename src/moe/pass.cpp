#include "moe/pass.h"

#include <algorithm>

namespace vkmoe {
namespace {

// A norm of the residual stream: y = norm(x) for rows x_first .. of x.
void record_norm(Recorder& r, const Hyper& h, Rows x, BufferView weights, Rows y, uint32_t n_rows, uint32_t x_first = 0) {
  if (h.norm == NORM_LAYER) layernorm(r, x, weights, y, n_rows, x_first, h.hidden, h.rms_epsilon);
  else rmsnorm(r, x, weights, y, n_rows, x_first, h.hidden, h.rms_epsilon);
}

// Rows 0 .. n_rows - 1 of x rounded, where one of the weights takes them so; of the rows up to n_tokens meet one matrix.
std::optional<BufferView> rounded(Recorder& r, const Activations& a, Rows x, uint32_t n_rows,
                                  const std::vector<const Weight*>& weights, uint32_t n_tokens) {
  for (const Weight* weight : weights) {
    Products products = products_of(r, *weight, n_tokens);
    if (products == Products::exact) continue;
    round_rows(r, products, x, a.rounded_rows, n_rows, weight->k);
    return a.rounded_rows;
  }
  return {};
}

// One matmul of all tokens, its rows of x rounded where it takes them so.
void record_matmul(Recorder& r, const Activations& a, DenseMatmul call) {
  call.rounded_x = rounded(r, a, call.x, call.n_rows, {&call.weight}, call.n_rows);
  matmul(r, call);
}

// Whether a layer's experts are combined with the next layer's first norm.
bool norms_next(const Model& model, uint32_t index) {
  const Hyper& h = model.hyper;
  return h.norm == NORM_RMS && !h.post_norms && model.layers[index].has_experts && index + 1 < h.n_layers;
}

AttentionParams attention_params(const Hyper& h, const Activations& a, uint32_t n_tokens, Rows y) {
  AttentionParams attend = {};
  attend.n_tokens = n_tokens;
  attend.n_heads = h.n_heads;
  attend.n_kv_heads = h.n_kv_heads;
  attend.head_dim = h.head_dim;
  attend.value_dim = h.cached_value_dim();
  attend.capacity = a.capacity;
  attend.out_stride = y.stride;
  attend.max_blocks = a.max_blocks;
  attend.scale = h.attention_scale;
  attend.softcap = h.attention_softcap;
  return attend;
}

// Softmax attention of a.queries over the cache of a layer.
void record_attend(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens, uint32_t index, Rows y) {
  const Hyper& h = model.hyper;
  AttentionParams attend = attention_params(h, a, n_tokens, y);
  attend.span = h.attention[index].span;
  attend.has_sinks = model.layers[index].has_sinks;
  attend.all_keys = h.bidirectional;
  attend.bias_distance = h.position_distance;
  attention(r, h.bidirectional ? a.input_end : a.step, a.queries, a.cache(index), y, a.partials,
            {a.attention_groups, key_span_index(h, index) * 16, 12}, model.layers[index].sinks, model.position_bias, attend);
}

// Latent attention: W_k of each head is applied to the queries instead of the keys, and W_v to what attention gives instead
// of the values, so that both meet the latents of the cache as they are.
void record_latent_attention(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens, uint32_t index) {
  const Hyper& h = model.hyper;
  const LatentAttention& l = h.latent;
  const DeviceLayer& layer = model.layers[index];
  uint32_t head = l.nope_dim + h.rotary_dim;
  if (l.q_rank) {
    rmsnorm(r, a.qkv, layer.q_a_norm, a.q_latent, n_tokens, 0, l.q_rank, l.epsilon);
    record_matmul(r, a, {.weight = layer.q_b, .x = a.q_latent, .y = a.q_heads, .n_rows = n_tokens});
  }
  Rows queries = {a.queries, h.n_heads * h.head_dim};
  matmul(r, {.weight = layer.k_b, .x = a.q_heads, .y = queries, .n_rows = n_tokens, .x_batch = head, .y_batch = h.head_dim});
  LatentParams cache = {};
  cache.n_tokens = n_tokens;
  cache.n_heads = h.n_heads;
  cache.kv_rank = l.kv_rank;
  cache.rotary_dim = h.rotary_dim;
  cache.interleaved = h.rope_interleaved;
  cache.latent_stride = a.qkv.stride;
  cache.latent_column = l.q_rank ? l.q_rank : h.n_heads * head;
  cache.q_stride = a.q_heads.stride;
  cache.q_head = head;
  cache.capacity = a.capacity;
  cache.epsilon = l.epsilon;
  latent_cache(r, a.step, a.qkv, a.q_heads, layer.kv_a_norm, a.angles, a.queries, a.cache(index), cache);
  record_attend(r, model, a, n_tokens, index, a.attended_latent);
  matmul(r, {.weight = layer.v_b, .x = a.attended_latent, .y = a.attended, .n_rows = n_tokens, .x_batch = l.kv_rank,
             .y_batch = l.value_dim});
}

// Attention with keys and values of their own for each key-value head.
void record_head_attention(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens, uint32_t index) {
  const Hyper& h = model.hyper;
  const DeviceLayer& layer = model.layers[index];
  const LayerAttention& options = h.attention[index];
  RopeParams rope = {};
  rope.n_tokens = n_tokens;
  rope.n_heads = h.n_heads;
  rope.n_kv_heads = h.n_kv_heads;
  rope.head_dim = h.head_dim;
  rope.rotary_dim = options.rotary ? h.rotary_dim : 0;
  rope.interleaved = h.rope_interleaved;
  rope.qkv_stride = a.qkv.stride;
  rope.capacity = a.capacity;
  rope.norm = options.normed ? h.qk_norm : QK_NORM_NONE;
  rope.epsilon = h.rms_epsilon;
  rope.clip = h.qkv_clip;
  rope.temperature_floor = options.tempered ? h.temperature_floor : 0;
  rope.temperature_scale = h.temperature_scale;
  rope_cache(r, a.step, a.qkv, layer.qk_norms, a.angles, a.queries, a.cache(index), rope);
  record_attend(r, model, a, n_tokens, index, a.attended);
}

void record_attention(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens, uint32_t index) {
  const Hyper& h = model.hyper;
  const DeviceLayer& layer = model.layers[index];
  if (index == 0 || !norms_next(model, index - 1)) record_norm(r, h, a.x, layer.attention_norm, a.normed, n_tokens);
  uint32_t column = 0;
  std::vector<const Weight*> weights;
  for (const Weight& weight : layer.qkv) weights.push_back(&weight);
  std::optional<BufferView> rounded_x = rounded(r, a, a.normed, n_tokens, weights, n_tokens);
  for (const Weight& weight : layer.qkv) {
    matmul(r, {.weight = weight, .x = a.normed, .y = a.qkv, .n_rows = n_tokens, .y_column = column, .rounded_x = rounded_x});
    column += weight.n;
  }
  if (h.latent.kv_rank) record_latent_attention(r, model, a, n_tokens, index);
  else record_head_attention(r, model, a, n_tokens, index);
  if (h.post_norms) {
    record_matmul(r, a, {.weight = layer.o, .x = a.attended, .y = a.normed, .n_rows = n_tokens, .scale = h.residual_scale});
    rmsnorm(r, a.normed, layer.attention_post_norm, a.x, n_tokens, 0, h.hidden, h.rms_epsilon, true);
    return;
  }
  record_matmul(r, a, {.weight = layer.o, .x = a.attended, .y = a.x, .n_rows = n_tokens, .epilogue = EPILOGUE_ADD,
                       .scale = h.residual_scale});
}

// Attention of a decoder to the keys and values of the encoder's output (record_encoder_output).
void record_cross_attention(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens, uint32_t index) {
  const Hyper& h = model.hyper;
  const DeviceCross& cross = model.layers[index].cross;
  record_norm(r, h, a.x, cross.norm, a.normed, n_tokens, 0);
  matmul(r, {.weight = cross.q, .x = a.normed, .y = {a.queries, h.n_heads * h.head_dim}, .n_rows = n_tokens});
  AttentionParams attend = attention_params(h, a, n_tokens, a.attended);
  attend.all_keys = 1;
  attention(r, a.input_end, a.queries, a.cross_cache(index), a.attended, a.partials, {a.cross_groups, 0, 12},
            model.layers[index].sinks, model.position_bias, attend);
  matmul(r, {.weight = cross.o, .x = a.attended, .y = a.x, .n_rows = n_tokens, .epilogue = EPILOGUE_ADD,
             .scale = h.residual_scale});
}

// The expert that every token uses where it does not follow the others (LayerExperts), with weight 1 or sigmoid(w x): a gate
// over one expert.
void record_shared_expert(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens, const DeviceLayer& layer) {
  const Hyper& h = model.hyper;
  record_matmul(r, a, {.weight = layer.shared_gate_up, .x = a.normed, .y = a.shared_hidden, .n_rows = n_tokens,
                       .epilogue = EPILOGUE_GATED, .activation = h.activation});
  if (layer.shared_router.shards.empty()) {
    record_matmul(r, a, {.weight = layer.shared_down, .x = a.shared_hidden, .y = a.x, .n_rows = n_tokens,
                         .epilogue = EPILOGUE_ADD, .scale = h.residual_scale});
    return;
  }
  matmul(r, {.weight = layer.shared_router, .x = a.normed, .y = a.shared_logit, .n_rows = n_tokens});
  record_matmul(r, a, {.weight = layer.shared_down, .x = a.shared_hidden, .y = a.shared_out, .n_rows = n_tokens});
  GateRule rule = {1, 1, SCORE_SIGMOID, 0, 0, 0, 0, WEIGHT_SCORE, 0, 0, 0, 1};
  Routing routing;
  routing.n_tokens = n_tokens;
  routing.top_k = 1;
  routing.ids = routing.slot_of = a.shared_ids;
  routing.weights = a.shared_weights;
  choose_experts(r, rule, a.shared_logit, layer.router_bias, routing);
  routing.in_order = true;
  combine(r, a.x, a.shared_out, h.hidden, routing, h.residual_scale);
}

// The norm before the experts, and which of them tokens go to.
void record_routing(Recorder& r, const Model& model, const Activations& a, const DeviceLayer& layer, const Routing& routing) {
  const Hyper& h = model.hyper;
  GateRule rule = gate_rule(h, routing.n_tokens);
  MatmulGroups groups = matmul_groups(r, layer.gate_up, layer.down);
  if (h.norm == NORM_RMS && fuses_router(r, rule, layer.router, routing.n_tokens)) {
    norm_and_choose(r, {rule, layer.router, a.x, a.normed, a.router, layer.ffn_norm, layer.router_bias, h.rms_epsilon}, routing);
    sort_by_expert(r, rule.n_experts, routing, groups);
    return;
  }
  record_norm(r, h, a.x, layer.ffn_norm, a.normed, routing.n_tokens);
  matmul(r, {.weight = layer.router, .x = a.normed, .y = a.router, .n_rows = routing.n_tokens});
  route(r, rule, a.router, layer.router_bias, routing, groups);
}

void record_experts(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens, uint32_t index) {
  const Hyper& h = model.hyper;
  const DeviceLayer& layer = model.layers[index];
  uint32_t epilogue = h.gated ? EPILOGUE_GATED : EPILOGUE_ACTIVATED;
  if (!layer.has_experts) {
    record_norm(r, h, a.x, layer.ffn_norm, a.normed, n_tokens);
    record_matmul(r, a, {.weight = layer.gate_up, .x = a.normed, .y = a.dense_hidden, .n_rows = n_tokens, .epilogue = epilogue,
                         .activation = h.activation});
    record_matmul(r, a, {.weight = layer.down, .x = a.dense_hidden, .y = a.x, .n_rows = n_tokens, .epilogue = EPILOGUE_ADD,
                         .scale = h.residual_scale});
    return;
  }
  Routing routing = a.routing_for(n_tokens, layer);
  record_routing(r, model, a, layer, routing);
  expert_matmul(r, {.weight = layer.gate_up, .x = a.normed, .y = a.expert_hidden, .routing = routing, .use = 0,
                    .scaled_input = h.scaled_expert_input, .epilogue = epilogue, .activation = h.activation,
                    .rounded_x = rounded(r, a, a.normed, n_tokens, {&layer.gate_up}, n_tokens)});
  expert_matmul(r, {.weight = layer.down, .x = a.expert_hidden, .y = a.expert_out, .routing = routing, .use = 1,
                    .rounded_x = rounded(r, a, a.expert_hidden, n_tokens * routing.uses(), {&layer.down}, n_tokens)});
  if (!layer.shared_gate_up.shards.empty()) record_shared_expert(r, model, a, n_tokens, layer);
  if (h.post_norms) {
    combine(r, a.normed, a.expert_out, h.hidden, routing, h.residual_scale, false, !h.scaled_expert_input);
    rmsnorm(r, a.normed, layer.ffn_post_norm, a.x, n_tokens, 0, h.hidden, h.rms_epsilon, true);
    return;
  }
  CombinedNorm next;
  if (norms_next(model, index)) next = {model.layers[index + 1].attention_norm, a.normed, h.rms_epsilon};
  combine(r, a.x, a.expert_out, h.hidden, routing, h.residual_scale, true, !h.scaled_expert_input,
          norms_next(model, index) ? &next : nullptr);
}

}  // namespace

void record_embedding(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens) {
  const Hyper& h = model.hyper;
  embed(r, model.embedding, a.tokens, a.x, n_tokens, h.embedding_scale);
  if (h.sinusoidal) add_positions(r, a.step, a.tokens, a.positions, a.x, n_tokens, h.hidden, h.padding_id);
}

void record_layers(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens, uint32_t first_layer,
                   uint32_t end_layer) {
  for (uint32_t layer = first_layer; layer < end_layer; ++layer) {
    record_attention(r, model, a, n_tokens, layer);
    if (model.hyper.cross_attention) record_cross_attention(r, model, a, n_tokens, layer);
    record_experts(r, model, a, n_tokens, layer);
  }
}

void record_encoder_output(Recorder& r, const Model& model, const Activations& encoder, const Activations& a, uint32_t n_tokens) {
  const Hyper& h = model.hyper;
  record_norm(r, model.encoder->hyper, encoder.x, model.encoder->final_norm, encoder.normed, n_tokens, 0);
  for (uint32_t index = 0; index < h.n_layers; ++index) {
    uint32_t column = 0;
    for (const Weight& weight : model.layers[index].cross.kv) {
      matmul(r, {.weight = weight, .x = encoder.normed, .y = a.qkv, .n_rows = n_tokens, .y_column = column});
      column += weight.n;
    }
    RopeParams to_cache = {};  // no queries, no rotation
    to_cache.n_tokens = n_tokens;
    to_cache.n_kv_heads = h.n_kv_heads;
    to_cache.head_dim = h.head_dim;
    to_cache.qkv_stride = a.qkv.stride;
    to_cache.capacity = a.capacity;
    rope_cache(r, encoder.step, a.qkv, model.layers[index].qk_norms, a.angles, a.queries, a.cross_cache(index), to_cache);
  }
  begin_step(r, a.input_end, a.cross_groups, h.n_heads, h.n_kv_heads, h.head_dim, {KeySpan{}}, false);
}

void record_last_logits(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens) {
  const Hyper& h = model.hyper;
  record_norm(r, h, a.x, model.final_norm, a.normed, 1, n_tokens - 1);
  matmul(r, {.weight = model.output(), .x = a.normed, .y = {a.logits, h.vocab}, .scale = h.logit_scale});
}

void record_logits(Recorder& r, const Model& model, const Activations& a, uint32_t first_row, uint32_t n_rows) {
  const Hyper& h = model.hyper;
  record_norm(r, h, a.x, model.final_norm, a.normed, n_rows, first_row);
  matmul(r, {.weight = model.output(), .x = a.normed, .y = {a.all_logits, h.vocab}, .n_rows = n_rows, .scale = h.logit_scale});
}

}  // namespace vkmoe
