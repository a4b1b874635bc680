// The table of weight formats and of ggml's type names.
#include "loader/format.h"

#include "base/error.h"

namespace vkmoe {

// One row for each file under formats/, which defines `format_NAME`.
#define VKMOE_FORMATS(ROW)                                                                                           \
  ROW(f32) ROW(f16) ROW(bf16)                                                                                        \
  ROW(q8_0) ROW(q4_0) ROW(q4_1) ROW(q5_0) ROW(q5_1)                                                                  \
  ROW(q2_k) ROW(q3_k) ROW(q4_k) ROW(q5_k) ROW(q6_k)                                                                  \
  ROW(iq4_nl) ROW(iq4_xs) ROW(mxfp4) ROW(nvfp4) ROW(tq1_0) ROW(tq2_0)                                                \
  ROW(iq1_s) ROW(iq1_m) ROW(iq2_xxs) ROW(iq2_xs) ROW(iq2_s) ROW(iq3_xxs) ROW(iq3_s)           \
  ROW(f8_e4m3)

#define ROW(name) extern const Format format_##name;
VKMOE_FORMATS(ROW)
#undef ROW

namespace {

// By number, as in ggml.h, retired ones too.
const char* const type_names[] = {
    "F32",        "F16",        "Q4_0",       "Q4_1",    "Q4_2",    "Q4_3",     "Q5_0",     "Q5_1",
    "Q8_0",       "Q8_1",       "Q2_K",       "Q3_K",    "Q4_K",    "Q5_K",     "Q6_K",     "Q8_K",
    "IQ2_XXS",    "IQ2_XS",     "IQ3_XXS",    "IQ1_S",   "IQ4_NL",  "IQ3_S",    "IQ2_S",    "IQ4_XS",
    "I8",         "I16",        "I32",        "I64",     "F64",     "IQ1_M",    "BF16",     "Q4_0_4_4",
    "Q4_0_4_8",   "Q4_0_8_8",   "TQ1_0",      "TQ2_0",   "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4",
    "NVFP4",      "Q1_0"};

}  // namespace

const std::vector<const Format*>& all_formats() {
#define ROW(name) &format_##name,
  static const std::vector<const Format*> formats = {VKMOE_FORMATS(ROW)};
#undef ROW
  return formats;
}

const Format* find_format(uint32_t ggml_type) {
  for (const Format* format : all_formats())
    if (format->ggml_type == ggml_type && ggml_type != no_ggml_type) return format;
  return nullptr;
}

const Format* find_format(const std::string& name) {
  for (const Format* format : all_formats())
    if (name == format->name) return format;
  return nullptr;
}

const char* ggml_type_name(uint32_t ggml_type) {
  return ggml_type < sizeof(type_names) / sizeof(*type_names) ? type_names[ggml_type] : nullptr;
}

void decode_row(const Format& format, const uint8_t* row, uint64_t first, uint64_t count, float* values) {
  if (first % format.block_elems || count % format.block_elems)
    fail(VKMOE_ERROR_INTERNAL, "decode_row: ", format.name, " has blocks of ", format.block_elems,
         " values, the range asked for starts at ", first, " with ", count);
  const uint8_t* block = row + row_bytes(format, first);
  for (uint64_t i = 0; i < count; i += format.block_elems, block += format.block_bytes)
    format.decode(block, values + i);
}

}  // namespace vkmoe
