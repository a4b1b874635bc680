// Weight formats as kernels know them: an id for the preprocessor and a file quant/NAME.glsl for each.
// How a block lies in a tile stands in quant/NAME.glsl and, for the host, in loader/formats/NAME.cpp.
#ifndef VKMOE_SHARED_FORMATS_H
#define VKMOE_SHARED_FORMATS_H
#define TILE_ROWS 32  // rows of a weight tile, and
#define STRIP_ROWS 8  // of those whose quads of a device block lie together (loader/format.h)
#define FORMAT_F32 0
#define FORMAT_F16 1
#define FORMAT_BF16 2
#define FORMAT_Q8_0 3
#define FORMAT_Q4_0 4
#define FORMAT_Q4_1 5
#define FORMAT_Q5_0 6
#define FORMAT_Q5_1 7
#define FORMAT_Q2_K 8
#define FORMAT_Q3_K 9
#define FORMAT_Q4_K 10
#define FORMAT_Q5_K 11
#define FORMAT_Q6_K 12
#define FORMAT_IQ4_NL 13
#define FORMAT_IQ4_XS 14
#define FORMAT_MXFP4 15
#define FORMAT_NVFP4 16
#define FORMAT_TQ1_0 17
#define FORMAT_TQ2_0 18
#define FORMAT_IQ1_S 19
#define FORMAT_IQ1_M 20
#define FORMAT_IQ2_XXS 21
#define FORMAT_IQ2_XS 22
#define FORMAT_IQ2_S 23
#define FORMAT_IQ3_XXS 24
#define FORMAT_IQ3_S 25
#define FORMAT_F8_E4M3 26
#endif
