// A number of the standard normal distribution from 32 random bits, by the inverse of its distribution function (Wichura
// 1988, AS 241, PPND7; relative error 1e-7): unlike Box-Muller it needs no sine, of which Vulkan promises little.
float normal_of(uint bits) {
  float q = (float(int(bits >> 8) - 0x800000) + 0.5) * 5.9604644775390625e-8;  // 2^-24; exact, as 0.5 - abs(q) is
  float r = 0.180625 - q * q;
  if (r >= 0.0)
    return q * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) /
           (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0);
  r = sqrt(-log(0.5 - abs(q))) - 1.6;  // at most 4.2 - 1.6, so the third branch of the algorithm is never needed
  float tail = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) /
               ((0.12021132975 * r + 0.73700164250) * r + 1.0);
  return q < 0.0 ? -tail : tail;
}
