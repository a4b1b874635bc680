// The weight format that a kernel is compiled for. Each file defines struct Block, 32 values of a row;
// block_load(first quad of the tile, first tail word of the tile, block, row in the tile) and block_values(Block, i):
// values 4i .. 4i + 3, the same bits as the CPU's decode. i is a constant once loops are unrolled. Where values are small integers
// times a scale, less a minimum, INT8_SCALES says how many of both 32 values have: int8_values(Block, i) are four of them as
// signed bytes, int8_scales and, with INT8_MINIMA, int8_minima those of the first and the second 16 values. block_units(Block, i)
// are the integers as float32 times powers of two, whose inverses are unit_places(i): the least work for a processor (matmul.comp
// with TEXELS); of other formats the values. WIDE_VALUES: fp16 is too little for them. The including shader declares p, whose
// shard_tiles and tile_quads say where the codebook lies.
#include "shared/formats.h"
#define BLOCK_ELEMS 32
#include "lib/weights.glsl"
#include "quant/unpack.glsl"
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
#elif FORMAT == FORMAT_Q4_1
#include "quant/q4_1.glsl"
#elif FORMAT == FORMAT_Q5_0
#include "quant/q5_0.glsl"
#elif FORMAT == FORMAT_Q5_1
#include "quant/q5_1.glsl"
#elif FORMAT == FORMAT_Q2_K
#include "quant/q2_k.glsl"
#elif FORMAT == FORMAT_Q3_K
#include "quant/q3_k.glsl"
#elif FORMAT == FORMAT_Q4_K
#include "quant/q4_k.glsl"
#elif FORMAT == FORMAT_Q5_K
#include "quant/q5_k.glsl"
#elif FORMAT == FORMAT_Q6_K
#include "quant/q6_k.glsl"
#elif FORMAT == FORMAT_IQ4_NL
#include "quant/iq4_nl.glsl"
#elif FORMAT == FORMAT_IQ4_XS
#include "quant/iq4_xs.glsl"
#elif FORMAT == FORMAT_MXFP4
#include "quant/mxfp4.glsl"
#elif FORMAT == FORMAT_NVFP4
#include "quant/nvfp4.glsl"
#elif FORMAT == FORMAT_TQ1_0
#include "quant/tq1_0.glsl"
#elif FORMAT == FORMAT_TQ2_0
#include "quant/tq2_0.glsl"
#elif FORMAT == FORMAT_IQ1_S
#include "quant/iq1_s.glsl"
#elif FORMAT == FORMAT_IQ1_M
#include "quant/iq1_m.glsl"
#elif FORMAT == FORMAT_IQ2_XXS
#include "quant/iq2_xxs.glsl"
#elif FORMAT == FORMAT_IQ2_XS
#include "quant/iq2_xs.glsl"
#elif FORMAT == FORMAT_IQ2_S
#include "quant/iq2_s.glsl"
#elif FORMAT == FORMAT_IQ3_XXS
#include "quant/iq3_xxs.glsl"
#elif FORMAT == FORMAT_IQ3_S
#include "quant/iq3_s.glsl"
#elif FORMAT == FORMAT_F8_E4M3
#include "quant/f8_e4m3.glsl"
#else
#error "unknown FORMAT"
#endif
#ifndef INT8_SCALES
vec4 block_units(Block b, uint i) { return block_values(b, i); }
#elif !defined(OWN_UNITS)
vec4 block_units(Block b, uint i) { return signed_byte_units(int8_values(b, i)); }
vec4 unit_places(uint i) { return vec4(exp2_24); }
#endif
