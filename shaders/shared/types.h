// Lets one header be read by GLSL and by C++: push-constant structs, enums and limits stand in shared/*.h once.
#ifndef VKMOE_SHARED_TYPES_H
#define VKMOE_SHARED_TYPES_H
#ifdef __cplusplus
#include <cstdint>
using uint = uint32_t;
#define SHARED_CONST constexpr uint
#else
#define SHARED_CONST const uint
#endif
#endif
