// Where a kernel reads weights of the format it is compiled for: storage buffers, or uniform texel buffers with TEXELS
// defined. Tiles lie there as in loader/format.h: quads, then the words of tails. Included by kernels before quant/format.glsl.
#ifdef TEXELS
layout(binding = 0) uniform usamplerBuffer quad_texels;
layout(binding = 8) uniform usamplerBuffer word_texels;  // the same bytes
uvec4 load_quad(uint i) { return texelFetch(quad_texels, int(i)); }
uint load_word(uint i) { return texelFetch(word_texels, int(i)).x; }
#else
layout(binding = 0) readonly buffer Quads { uvec4 quads[]; };
layout(binding = 0) readonly buffer Words { uint words[]; };
uvec4 load_quad(uint i) { return quads[i]; }
uint load_word(uint i) { return words[i]; }
#endif

// The first of the n quads of a row's device block; the others follow, STRIP_ROWS apart.
uint row_quads(uint tile, uint device_block, uint n, uint row) {
  return tile + (device_block * (TILE_ROWS / STRIP_ROWS) + row / STRIP_ROWS) * n * STRIP_ROWS + row % STRIP_ROWS;
}
