// The weight format that a kernel is compiled for. Each file defines BLOCK_ELEMS, BLOCK_QUADS, struct Block,
// block_load(first quad of the tile, first tail word of the tile, block, row in the tile) and block_values(Block, i): values 4i .. 4i+3.
// The including shader declares quads[] (uvec4) and words[] (uint), two views of the weights.
#include "shared/formats.h"
#if FORMAT == FORMAT_F32
#include "quant/f32.glsl"
#elif FORMAT == FORMAT_F16
#include "quant/f16.glsl"
#elif FORMAT == FORMAT_BF16
#include "quant/bf16.glsl"
#elif FORMAT == FORMAT_Q8_0
#include "quant/q8_0.glsl"
#elif FORMAT == FORMAT_Q4_0
#include "quant/q4_0.glsl"
#else
#error "unknown FORMAT"
#endif
