// Before a pass with one token: how many blocks of keys attention has to look at, as group counts for its dispatch.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x = 1) in;
layout(binding = 0) readonly buffer StepState { Step step_state; };
layout(binding = 1) writeonly buffer Groups { uint groups[]; };  // x, y, z
layout(push_constant) uniform Push { uint groups_x, groups_y; };

void main() {
  groups[0] = groups_x;
  groups[1] = groups_y;
  groups[2] = step_state.position / KEY_BLOCK + 1;
}
