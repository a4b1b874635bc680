// Before a pass with one token: goes on to the next position where that is not set by the host, and writes how many blocks
// of keys attention has to look at, as group counts for its dispatch.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x = 1) in;
layout(binding = 0) buffer StepState { Step step_state; };
layout(binding = 1) writeonly buffer Groups { uint groups[]; };  // x, y, z
layout(push_constant) uniform Push { BeginStepParams p; };

void main() {
  if (p.advance != 0) {
    step_state.position = step_state.next;
    step_state.next = step_state.position + 1;
  }
  groups[0] = p.groups_x;
  groups[1] = p.groups_y;
  groups[2] = step_state.position / KEY_BLOCK + 1;
}
