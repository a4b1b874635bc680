// Writes what its specialization constants say; one of them sizes shared memory.
#version 450
layout(local_size_x_id = 0, local_size_y = 2) in;
layout(constant_id = 1) const uint VALUE = 7;
layout(constant_id = 2) const float SCALE = 1.5;
layout(constant_id = 3) const uint WORDS = 4;
layout(constant_id = 4) const bool UNUSED = true;
layout(binding = 0) writeonly buffer Out { uint result[]; };
shared uint words[WORDS * 2];

void main() {
  if (gl_LocalInvocationIndex == 0) words[WORDS * 2 - 1] = VALUE;
  barrier();
  if (gl_LocalInvocationIndex != 1) return;
  result[0] = words[WORDS * 2 - 1];
  result[1] = uint(SCALE * 4.0);
  result[2] = gl_WorkGroupSize.x;
  result[3] = gl_WorkGroupSize.y;
}
