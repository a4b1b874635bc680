// Counting sort, step 3: each assignment goes to its slot, those of one expert in their old order (stable).
// A workgroup owns one chunk; the place inside of the chunk is the number of equal ids before it.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/route.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) readonly buffer Ids { uint ids[]; };          // (n_assignments) u32
layout(binding = 1) readonly buffer Starts { uint starts[]; };    // (n_chunks, n_experts) u32, from expert_scan
layout(binding = 2) writeonly buffer Sorted { uint sorted[]; };   // (n_assignments) u32: assignment of a slot
layout(binding = 3) writeonly buffer SlotOf { uint slot_of[]; };  // (n_assignments) u32: slot of an assignment or NO_EXPERT
layout(push_constant) uniform Push { SortParams p; };

shared uint chunk_ids[SORT_CHUNK];

void main() {
  uint first = gl_WorkGroupID.x * SORT_CHUNK, n = min(SORT_CHUNK, p.n_assignments - first);
  for (uint i = gl_LocalInvocationID.x; i < n; i += LANES) chunk_ids[i] = ids[first + i];
  barrier();
  for (uint i = gl_LocalInvocationID.x; i < n; i += LANES) {
    uint e = chunk_ids[i], rank = 0;
    if (e >= p.n_experts) {  // dropped
      slot_of[first + i] = NO_EXPERT;
      continue;
    }
    for (uint j = 0; j < i; ++j) rank += uint(chunk_ids[j] == e);
    uint slot = starts[gl_WorkGroupID.x * p.n_experts + e] + rank;
    sorted[slot] = first + i;
    slot_of[first + i] = slot;
  }
}
