// Counting sort, step 2 (one workgroup): counts become the first slot of each (chunk, expert); each expert's rows are cut
// into tiles of height 8, the rest into tiles of 4 or 1, listed compactly by height, with the group counts of the
// dispatches over them.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/route.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) buffer Counts { uint counts[]; };            // (n_chunks, n_experts) u32: counts, then first slots
layout(binding = 1) writeonly buffer Offsets { uint offsets[]; };  // (n_experts + 1) u32
layout(binding = 2) writeonly buffer Tiles { uvec4 tiles[]; };   // (TILE_HEIGHTS, tile_capacity): expert, slot, rows, 0
layout(binding = 3) writeonly buffer Groups { uint groups[]; };  // (TILE_HEIGHTS, 2, DISPATCH_WORDS) u32
layout(push_constant) uniform Push { SortParams p; };

shared uint totals[GATE_MAX_EXPERTS];
shared uvec4 before[LANES];  // rows, tiles of each height, of a lane's experts; then of all lanes before

// Rows, and tiles by height, of an expert: whole tiles of 8, then one of 4 or 8 for the rest, or of 1 for a single row.
uvec4 measure(uint rows) {
  uint rest = rows % TILE_HEIGHT_2;
  return uvec4(rows, uint(rest == 1), uint(rest > 1 && rest <= TILE_HEIGHT_1),
               rows / TILE_HEIGHT_2 + uint(rest > TILE_HEIGHT_1));
}

void main() {
  uint lane = gl_LocalInvocationID.x;
  uint own = (p.n_experts + LANES - 1) / LANES, first = min(lane * own, p.n_experts), end = min(first + own, p.n_experts);
  uvec4 sum = uvec4(0);
  for (uint e = first; e < end; ++e) {
    uint total = 0;
    for (uint chunk = 0; chunk < p.n_chunks; ++chunk) total += counts[chunk * p.n_experts + e];
    totals[e] = total;
    sum += measure(total);
  }
  before[lane] = sum;
  barrier();
  uvec4 at = uvec4(0);
  for (uint i = 0; i < lane; ++i) at += before[i];

  for (uint e = first; e < end; ++e) {
    uint rows = totals[e], slot = at.x;
    uvec4 made = measure(rows);
    offsets[e] = slot;
    uint running = slot;
    for (uint chunk = 0; chunk < p.n_chunks; ++chunk) {
      uint count = counts[chunk * p.n_experts + e];
      counts[chunk * p.n_experts + e] = running;
      running += count;
    }
    for (uint i = 0; i < made.w; ++i)
      tiles[2 * p.tile_capacity + at.w + i] =
          uvec4(e, slot + i * TILE_HEIGHT_2, min(TILE_HEIGHT_2, rows - i * TILE_HEIGHT_2), 0);
    uint rest_slot = slot + rows / TILE_HEIGHT_2 * TILE_HEIGHT_2, rest = rows % TILE_HEIGHT_2;
    if (made.z != 0) tiles[p.tile_capacity + at.z] = uvec4(e, rest_slot, rest, 0);
    if (made.y != 0) tiles[at.y] = uvec4(e, rest_slot, rest, 0);
    at += made;
  }
  if (lane == LANES - 1) {
    offsets[p.n_experts] = at.x;
    for (uint height = 0; height < TILE_HEIGHTS; ++height) {
      for (uint use = 0; use < 2; ++use) {
        uint to = (height * 2 + use) * DISPATCH_WORDS;
        groups[to] = at[1 + height];
        groups[to + 1] = p.groups_y[height * 2 + use];
        groups[to + 2] = 1;
        groups[to + 3] = 0;
      }
    }
  }
}
