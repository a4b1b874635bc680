// What vkmoe bench and its sweep share.
#pragma once
#include "common.h"

struct BenchOptions : RunOptions {
  uint32_t prompt_tokens = 0;  // 0: default_prompt, or in a sweep most_prompt
  uint32_t tokens = 32, repetitions = 3;
  bool json = false, profile = false;
  std::string sweep, plot;  // files
  static constexpr uint32_t default_prompt = 128, most_prompt = 2048;
};

// The same ids on every machine.
std::vector<int32_t> random_ids(uint32_t count, uint32_t vocab_size);

// Goes on past tokens that end an answer.
void decode(vkmoe_session* session, uint32_t tokens);

// Prefill over prompt lengths, decoding over context lengths, passes of 1 to 64 tokens: to options.sweep as JSON and, where
// it is named, to options.plot as PNG.
void sweep(const BenchOptions& options);
