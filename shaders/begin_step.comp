// Before a pass with one token: goes on to the next position where that is not set by the host, and writes how many blocks
// of keys attention has to look at, as group counts for its dispatches: one for each span of keys.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x = 1) in;
layout(binding = 0) buffer StepState { Step step_state; };
layout(binding = 1) writeonly buffer Groups { uint groups[]; };  // (n_spans, 4): x, y, z, padding
layout(push_constant) uniform Push { BeginStepParams p; };

#include "lib/key_span.glsl"

void main() {
  if (p.advance != 0) {
    step_state.position = step_state.next;
    step_state.next = step_state.position + 1;
  }
  uint at = step_state.position;
  for (uint i = 0; i < p.n_spans; ++i) {
    groups[i * 4] = p.groups_x;
    groups[i * 4 + 1] = p.groups_y;
    groups[i * 4 + 2] = at / KEY_BLOCK + 1 - first_visible_key(p.spans[i], at) / KEY_BLOCK;
  }
}
