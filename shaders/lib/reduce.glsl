// Sum over a workgroup of LANES invocations (a power of two) in a fixed order: a binary tree in shared memory.
shared float reduce_scratch[LANES];
float workgroup_sum(float value) {
  uint lane = gl_LocalInvocationID.x;
  reduce_scratch[lane] = value;
  barrier();
  for (uint half_lanes = LANES / 2; half_lanes > 0; half_lanes /= 2) {
    if (lane < half_lanes) reduce_scratch[lane] += reduce_scratch[lane + half_lanes];
    barrier();
  }
  float sum = reduce_scratch[0];
  barrier();  // before the scratch is used again
  return sum;
}
