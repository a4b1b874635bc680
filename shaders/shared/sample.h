// Interface of sample.comp.
#ifndef VKMOE_SHARED_SAMPLE_H
#define VKMOE_SHARED_SAMPLE_H
#include "shared/types.h"

#define HISTORY 512     // places for latest tokens, by position % HISTORY
#define PENALTY_MOST 256  // latest tokens that the repetition penalty can see; fewer than HISTORY, as tokens may be taken back
#define WEIGHT_ONE 268435456u  // 2^28: the weight of the most likely token; a sum over 2^18 tokens fits in 46 bits
#define SAMPLE_RING 64  // sampled ids that the host has not fetched yet

// How the next token is chosen; in device memory, so that a recording can be replayed with other values.
struct SampleRule {
  float temperature;  // 0: greedy
  uint top_k;         // 0: all
  float top_p;        // 1: all
  float min_p;        // 0: all
  float penalty;      // 1: off
  uint penalty_last;
  uint seed_low, seed_high;
};

struct SampleParams {
  uint vocab;
};
#endif
