// Interface of matmul*.comp: y = W x for one matrix or for the experts that tokens chose; and of quantize_rows.comp and
// half_rows.comp.
#ifndef VKMOE_SHARED_MATMUL_H
#define VKMOE_SHARED_MATMUL_H
#include "shared/formats.h"
#include "shared/types.h"

// Every dot product over k is cut into this many segments of consecutive blocks; each is summed on its own, one value
// after the other, and the segments are added in order. All variants keep this order, so they give the same bits; but those with
// TEXELS (matmul.comp) sum each block on its own, and all blocks in order: a loop in a loop costs a processor more.
#ifdef TEXELS
#define MATMUL_SEGMENTS 1
#else
#define MATMUL_SEGMENTS 8
#endif

// 16-byte units of 32 values of a row of x as quantize_rows.comp writes them: 32 int8, then as float32 their scale, and the
// scale times the sum of the first 16, of the second 16 and of all.
#define INT8_QUADS 3
// 16-byte units of 32 values of a row of x as half_rows.comp writes them: fp16. After the last comes one whose first word is the
// row's scale, as float32.
#define HALF_QUADS 4

// Which rows of x meet which expert.
#define ROWS_DENSE 0   // expert z of the dispatch; row i of x gives row i of y
#define ROWS_SORTED 1  // tiles[] lists (expert, first slot, rows); slot s holds assignment sorted[s]
#define ROWS_DIRECT 2  // assignment i goes to expert sorted[i]; slot i is assignment i

// What becomes of v = W x + bias.
#define EPILOGUE_STORE 0    // y = scale * v
#define EPILOGUE_ADD 1      // y += scale * v
#define EPILOGUE_GATED 2    // tiles alternate gate, up: y = activation(gate) * up
#define EPILOGUE_ACTIVATED 3  // y = activation(v): a feed-forward layer without a gate
// And in the same constant:
#define EPILOGUE_KIND 3      // the bits of the above
#define EPILOGUE_BIASED 4    // there is a bias
#define EPILOGUE_WEIGHTED 8  // an expert's row of x counts times the weight of its assignment

#define ACTIVATION_SILU 0          // SwiGLU (Shazeer 2020)
#define ACTIVATION_CLAMPED_SILU 1  // gpt-oss: gate at most limit, up within +-limit; gate * sigmoid(alpha gate) * (up + 1)
#define ACTIVATION_GELU 2          // the tanh form (Hendrycks & Gimpel 2016): gelu(v)
#define ACTIVATION_RELU 3          // max(v, 0)

struct Activation {
  uint kind;  // ACTIVATION_*
  float alpha, limit;
};

struct MatmulParams {
  uint n_rows;       // rows of x and y (ROWS_DENSE)
  uint n;            // rows of W = columns of y (per expert; of the activated product with EPILOGUE_GATED)
  uint blocks;       // blocks of k
  uint tile_quads;   // 16-byte units of a weight tile
  uint tail_word;    // 32-bit words from a tile's start to its tails
  uint shard_tiles;  // tiles in the bound shard; others are left alone
  uint x_first;      // first row of x (ROWS_DENSE)
  uint x_stride;     // vec4s between rows of x
  uint x_div;        // row of x: assignment / x_div with top-k; 0: the slot itself
  uint y_stride;     // floats between rows of y
  uint y_column;     // first column of y
  uint tile_first;   // first entry of tiles[]
  uint x_batch;      // vec4s of x and floats of y from one expert's columns to the next one's (ROWS_DENSE)
  uint y_batch;
  float scale;       // EPILOGUE_STORE, EPILOGUE_ADD
  Activation activation;
};

struct QuantizeParams {
  uint n_rows, blocks;  // rows of x, and blocks of 32 values in each
  uint x_stride;        // vec4s between rows of x
};
#endif
