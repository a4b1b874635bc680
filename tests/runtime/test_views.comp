// Two blocks at one binding: the same buffer as words, read, and as vectors, written. Binding 2 is never used.
#version 450
layout(local_size_x = 1) in;
layout(binding = 0) readonly buffer Words { uint words[]; };
layout(binding = 0) writeonly buffer Vectors { uvec4 vectors[]; };
layout(binding = 1) writeonly buffer Groups { uint groups[3]; };
layout(binding = 2) readonly buffer Unused { uint unused[]; };

void main() {
  uint n = words[0];
  vectors[1] = uvec4(n, n + 1, n + 2, n + 3);
  groups[0] = n;
  groups[1] = 1;
  groups[2] = 1;
}
