// The value types of GGUF, by number: ggml's docs/gguf.md. Shared by its reader and its writer.
#pragma once
#include <cstdint>

namespace vkmoe {

enum GgufType : uint32_t {
  gguf_u8, gguf_i8, gguf_u16, gguf_i16, gguf_u32, gguf_i32, gguf_f32, gguf_boolean, gguf_string, gguf_array, gguf_u64,
  gguf_i64, gguf_f64, gguf_types
};

}  // namespace vkmoe
