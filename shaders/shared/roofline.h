// Interface of the kernels that show what a device can do: stream_read, multiply_add.
#ifndef VKMOE_SHARED_ROOFLINE_H
#define VKMOE_SHARED_ROOFLINE_H
#include "shared/types.h"

#define STREAM_READS 64        // quads that an invocation of stream_read adds up
#define MULTIPLY_ADD_STEPS 16  // fused multiply-adds of a value in a round of multiply_add
#define MULTIPLY_ADD_VALUES 8  // values that an invocation of it works on, side by side

struct MultiplyAddParams {
  float factor;
  float addend;
  uint rounds;
};
#endif
