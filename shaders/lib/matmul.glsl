// What matmul*.comp share: the buffers, which rows of W and x a workgroup takes, and what becomes of the products.
layout(constant_id = 2) const uint TOKENS = LEAST_TOKENS;  // rows of x that a workgroup takes
layout(constant_id = 3) const uint ROWS = ROWS_DENSE;
layout(constant_id = 4) const uint EPILOGUE_BITS = EPILOGUE_STORE;
layout(constant_id = 5) const uint TILES = LEAST_TILES;    // tiles of 32 rows of W; a multiple of 2 with GATED
layout(constant_id = 6) const uint ACTIVATION = ACTIVATION_SILU;
layout(constant_id = 7) const uint EXACT_HALVES = 0;  // lib/half.glsl
const uint EPILOGUE = EPILOGUE_BITS & EPILOGUE_KIND;
const uint PAIR = EPILOGUE == EPILOGUE_GATED ? 2 : 1;

layout(binding = 1) readonly buffer Bases { int bases[]; };    // (experts) first tile in this shard; may lie outside
#ifdef TEXELS
layout(binding = 2) uniform samplerBuffer x_texels;            // (rows, x_stride) f32
#elif defined(INT8) || defined(HALVES)
layout(binding = 2) readonly buffer X { uvec4 x[]; };          // (rows, x_stride): quantize_rows.comp, half_rows.comp
#else
layout(binding = 2) readonly buffer X { vec4 x[]; };
#endif
layout(binding = 3) buffer Y { float y[]; };                   // (rows, y_stride) f32
layout(binding = 4) readonly buffer Tiles { uvec4 tiles[]; };  // expert, first slot, rows, 0
layout(binding = 5) readonly buffer Sorted { uint sorted[]; }; // assignment of a slot; expert of an assignment (DIRECT)
layout(binding = 6) readonly buffer Bias { float bias[]; };    // (experts, PAIR, n) f32, read with EPILOGUE_BIASED
layout(binding = 7) readonly buffer Weights { float weights[]; };  // (assignments) f32, read with EPILOGUE_WEIGHTED
layout(push_constant) uniform Push { MatmulParams p; };

#define SUMMED
#include "lib/half.glsl"
#include "quant/format.glsl"

// The tile of rows of W, the expert and the rows of x that this workgroup takes.
struct Job { uint expert, first, rows; };

Job find_job() {
  uint i = gl_WorkGroupID.x;
  if (ROWS == ROWS_SORTED) {
    uvec4 tile = tiles[p.tile_first + i];
    return Job(tile.x, tile.y, tile.z);
  }
  if (ROWS == ROWS_DIRECT) return Job(sorted[i], i, 1);
  return Job(gl_WorkGroupID.z, i * TOKENS, min(TOKENS, p.n_rows - i * TOKENS));
}

// Which matrix of several, each with columns of x and y of its own.
uint batch() { return ROWS == ROWS_DENSE ? gl_WorkGroupID.z : 0; }

uint x_row(uint slot) {
  if (ROWS == ROWS_DENSE) return p.x_first + slot;
  if (p.x_div == 0) return slot;
  return (ROWS == ROWS_SORTED ? sorted[slot] : slot) / p.x_div;
}

float activated(float v) {
  if (ACTIVATION == ACTIVATION_RELU) return max(v, 0.0);
  // gelu(x) = x (1 + tanh(u)) / 2 = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)
  if (ACTIVATION == ACTIVATION_GELU) return v / (1.0 + exp(-1.5957691 * fma(0.044715 * v * v, v, v)));
  return v / (1.0 + exp(-v));
}

float gated(float gate, float up) {
  if (ACTIVATION == ACTIVATION_CLAMPED_SILU) {
    gate = min(gate, p.activation.limit);
    return gate / (1.0 + exp(-p.activation.alpha * gate)) * (clamp(up, -p.activation.limit, p.activation.limit) + 1.0);
  }
  return activated(gate) * up;
}

void store(Job job, uint token, uint row, float gate, float up) {
  if (token >= job.rows || row >= p.n) return;
  uint slot = job.first + token, at = slot * p.y_stride + p.y_column + batch() * p.y_batch + row;
  if ((EPILOGUE_BITS & EPILOGUE_WEIGHTED) != 0) {  // the product is linear, so it may be scaled instead
    float weight = weights[ROWS == ROWS_SORTED ? sorted[slot] : slot];
    gate *= weight;
    up *= weight;
  }
  if ((EPILOGUE_BITS & EPILOGUE_BIASED) != 0) {
    gate += bias[job.expert * PAIR * p.n + row];
    if (EPILOGUE == EPILOGUE_GATED) up += bias[(job.expert * PAIR + 1) * p.n + row];
  }
  if (EPILOGUE == EPILOGUE_GATED) y[at] = gated(gate, up);
  else if (EPILOGUE == EPILOGUE_ACTIVATED) y[at] = activated(gate);
  else if (EPILOGUE == EPILOGUE_ADD) y[at] += p.scale * gate;
  else y[at] = p.scale * gate;
}
