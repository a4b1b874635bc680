// Counting sort, step 2 (one workgroup): counts become the first slot of each (chunk, expert); each expert's rows are cut
// into tiles of height 32 where there are p.tall_from for one, the rest into whole ones of p.whole_tile, and one of its own
// height, listed compactly by height, with the group counts of the dispatches over them.
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

const uint tile_heights[TILE_HEIGHTS] = {TILE_HEIGHT_0, TILE_HEIGHT_1, 0, TILE_HEIGHT_3};  // 0: p.whole_tile

shared uint totals[GATE_MAX_EXPERTS];
shared uint rows_before[LANES];    // of a lane's experts, then of all lanes before
shared uvec4 tiles_before[LANES];  // by height

// Tiles by height of an expert with so many rows: tall ones, the last perhaps not full; whole ones of 4 or 8; one for
// the rest, of 1 for a single row.
uvec4 measure(uint rows) {
  uint tall = rows < p.tall_from ? 0 : (rows + TILE_HEIGHT_3 - p.tall_from) / TILE_HEIGHT_3;
  rows -= min(rows, tall * TILE_HEIGHT_3);
  uint rest = rows % p.whole_tile;
  return uvec4(rest == 1, rest > 1 && rest <= TILE_HEIGHT_1, rows / p.whole_tile + uint(rest > TILE_HEIGHT_1), tall);
}

void main() {
  uint lane = gl_LocalInvocationID.x;
  uint own = (p.n_experts + LANES - 1) / LANES, first = min(lane * own, p.n_experts), end = min(first + own, p.n_experts);
  uint rows_sum = 0;
  uvec4 tiles_sum = uvec4(0);
  for (uint e = first; e < end; ++e) {
    uint total = 0;
    for (uint chunk = 0; chunk < p.n_chunks; ++chunk) total += counts[chunk * p.n_experts + e];
    totals[e] = total;
    rows_sum += total;
    tiles_sum += measure(total);
  }
  rows_before[lane] = rows_sum;
  tiles_before[lane] = tiles_sum;
  barrier();
  uint slot = 0;
  uvec4 at = uvec4(0);
  for (uint i = 0; i < lane; ++i) {
    slot += rows_before[i];
    at += tiles_before[i];
  }

  for (uint e = first; e < end; ++e) {
    offsets[e] = slot;
    uint running = slot, after = slot + totals[e];
    for (uint chunk = 0; chunk < p.n_chunks; ++chunk) {
      uint count = counts[chunk * p.n_experts + e];
      counts[chunk * p.n_experts + e] = running;
      running += count;
    }
    uvec4 made = measure(totals[e]);
    for (uint height = TILE_HEIGHTS; height-- > 0;) {  // the tallest first
      for (uint i = 0; i < made[height]; ++i) {
        uint rows = min(height == 2 ? p.whole_tile : tile_heights[height], after - slot);
        tiles[height * p.tile_capacity + at[height] + i] = uvec4(e, slot, rows, 0);
        slot += rows;
      }
    }
    at += made;
  }
  if (lane == LANES - 1) {
    offsets[p.n_experts] = slot;
    for (uint height = 0; height < TILE_HEIGHTS; ++height) {
      for (uint use = 0; use < 2; ++use) {
        uint to = (height * 2 + use) * DISPATCH_WORDS;
        groups[to] = at[height];
        groups[to + 1] = p.groups_y[height * 2 + use];
        groups[to + 2] = 1;
        groups[to + 3] = 0;
      }
    }
  }
}
