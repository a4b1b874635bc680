// What RMSNorm (Zhang & Sennrich 2019) multiplies a row with. One text for all kernels: equal bits.
float rms_scale(float squares, uint width, float epsilon) {
  precise float scale = 1.0 / sqrt(squares / float(width) + epsilon);
  return scale;
}
