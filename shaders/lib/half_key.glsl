// A key on its way to a cache of fp16, until four values side by side are there. Including kernels have HALF_CACHE and KEY_DIM.
#include "lib/to_half.glsl"

shared float key[HALF_CACHE != 0 ? KEY_DIM : 1];

// Values 4i .. 4i + 3.
uvec2 packed_key(uint i) { return packed_halves(vec4(key[i * 4], key[i * 4 + 1], key[i * 4 + 2], key[i * 4 + 3])); }
