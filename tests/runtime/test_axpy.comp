// y[i] = factor * y[i] + x[i]
#version 450
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push {
  uint count;
  uint factor;
};
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 1) buffer Y { uint y[]; };

void main() {
  uint i = gl_GlobalInvocationID.x;
  if (i < count) y[i] = factor * y[i] + x[i];
}
