// Counting sort of assignments by expert, step 1: how often each expert stands in a chunk of SORT_CHUNK assignments.
// A workgroup owns one chunk. No atomics: every count is made by one invocation.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/route.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) readonly buffer Ids { uint ids[]; };         // (n_assignments) u32
layout(binding = 1) writeonly buffer Counts { uint counts[]; };  // (n_chunks, n_experts) u32
layout(push_constant) uniform Push { SortParams p; };

shared uint chunk_ids[SORT_CHUNK];

void main() {
  uint first = gl_WorkGroupID.x * SORT_CHUNK, n = min(SORT_CHUNK, p.n_assignments - first);
  for (uint i = gl_LocalInvocationID.x; i < n; i += LANES) chunk_ids[i] = ids[first + i];
  barrier();
  for (uint e = gl_LocalInvocationID.x; e < p.n_experts; e += LANES) {
    uint count = 0;
    for (uint i = 0; i < n; ++i) count += uint(chunk_ids[i] == e);
    counts[gl_WorkGroupID.x * p.n_experts + e] = count;
  }
}
