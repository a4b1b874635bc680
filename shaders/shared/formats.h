// Weight formats as kernels know them: an id for the preprocessor and a file quant/NAME.glsl for each.
// Geometry (16-byte units and tail bytes of a block) stands in quant/NAME.glsl and, for the host, in loader/format.cpp.
#ifndef VKMOE_SHARED_FORMATS_H
#define VKMOE_SHARED_FORMATS_H
#define FORMAT_F32 0
#define FORMAT_F16 1
#define FORMAT_BF16 2
#define FORMAT_Q8_0 3
#define FORMAT_Q4_0 4
#endif
