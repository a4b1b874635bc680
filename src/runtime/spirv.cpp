#include "runtime/spirv.h"

#include <unordered_map>

#include "base/error.h"

namespace vkmoe {
namespace {

// Numbers of the SPIR-V specification.
enum : uint32_t {
  kOpCapability = 17,
  kOpTypeBool = 20,
  kOpTypeInt = 21,
  kOpTypeFloat = 22,
  kOpTypeVector = 23,
  kOpTypeMatrix = 24,
  kOpTypeArray = 28,
  kOpTypeStruct = 30,
  kOpTypePointer = 32,
  kOpConstant = 43,
  kOpSpecConstant = 50,
  kOpSpecConstantOp = 52,
  kOpFunction = 54,
  kOpVariable = 59,
  kOpDecorate = 71,
  kDecorationSpecId = 1,
  kStorageWorkgroup = 4,
  kHeaderWords = 5,
};

// Calls visit(opcode, operands, count) for the instructions before the first function.
template <class Visit>
void for_each_declaration(const KernelBinary& binary, const Visit& visit) {
  for (uint32_t at = kHeaderWords; at < binary.word_count;) {
    uint32_t opcode = binary.words[at] & 0xffff, length = binary.words[at] >> 16;
    if (length == 0 || length > binary.word_count - at) {
      fail(VKMOE_ERROR_INTERNAL, "kernel ", binary.name, ": broken SPIR-V at word ", at);
    }
    if (opcode == kOpFunction) return;
    visit(opcode, binary.words + at + 1, length - 1);
    at += length;
  }
}

// OpSpecConstantOp on 32-bit integers, as far as array sizes need it.
bool evaluate(uint32_t operation, uint32_t a, uint32_t b, uint32_t* result) {
  switch (operation) {
    case 128: *result = a + b; return true;                 // IAdd
    case 130: *result = a - b; return true;                 // ISub
    case 132: *result = a * b; return true;                 // IMul
    case 134: case 135: *result = b ? a / b : 0; return b;  // UDiv, SDiv
    case 137: *result = b ? a % b : 0; return b;            // UMod
    case 194: *result = b < 32 ? a >> b : 0; return true;   // ShiftRightLogical
    case 196: *result = b < 32 ? a << b : 0; return true;   // ShiftLeftLogical
    case 197: *result = a | b; return true;                 // BitwiseOr
    case 199: *result = a & b; return true;                 // BitwiseAnd
    default: return false;
  }
}

class SharedBytes {
 public:
  SharedBytes(const KernelBinary& binary, const SpecConstants& constants) : constants_(constants) {
    for_each_declaration(binary, [this](uint32_t op, const uint32_t* w, uint32_t n) { visit(op, w, n); });
  }
  uint64_t total() const { return total_; }

 private:
  void visit(uint32_t opcode, const uint32_t* w, uint32_t count) {
    switch (opcode) {
      case kOpDecorate:
        if (count >= 3 && w[1] == kDecorationSpecId) spec_id_[w[0]] = w[2];
        break;
      case kOpTypeBool:
        size_[w[0]] = 4;
        break;
      case kOpTypeInt:
      case kOpTypeFloat:
        size_[w[0]] = w[1] / 8;
        break;
      case kOpTypeVector:
      case kOpTypeMatrix:
        size_[w[0]] = size_[w[1]] * w[2];
        break;
      case kOpTypeArray:
        size_[w[0]] = size_[w[1]] * value_[w[2]];
        break;
      case kOpTypeStruct:
        for (uint32_t i = 1; i < count; i++) size_[w[0]] += size_[w[i]];
        break;
      case kOpTypePointer:
        if (w[1] == kStorageWorkgroup) size_[w[0]] = size_[w[2]];
        break;
      case kOpConstant:
        value_[w[1]] = w[2];
        break;
      case kOpSpecConstant:
        value_[w[1]] = spec_id_.count(w[1]) ? constants_.at(spec_id_[w[1]]) : w[2];
        break;
      case kOpSpecConstantOp:
        if (count == 5 && !evaluate(w[2], value_[w[3]], value_[w[4]], &value_[w[1]])) value_.erase(w[1]);
        break;
      case kOpVariable:
        if (w[2] == kStorageWorkgroup) total_ += size_[w[0]];
        break;
    }
  }

  const SpecConstants& constants_;
  std::unordered_map<uint32_t, uint64_t> size_;     // by type id
  std::unordered_map<uint32_t, uint32_t> value_;    // by constant id
  std::unordered_map<uint32_t, uint32_t> spec_id_;  // by constant id
  uint64_t total_ = 0;
};

}  // namespace

std::vector<uint32_t> spirv_capabilities(const KernelBinary& binary) {
  std::vector<uint32_t> capabilities;
  for_each_declaration(binary, [&](uint32_t opcode, const uint32_t* operands, uint32_t) {
    if (opcode == kOpCapability) capabilities.push_back(operands[0]);
  });
  return capabilities;
}

uint64_t spirv_shared_bytes(const KernelBinary& binary, const SpecConstants& constants) {
  return SharedBytes(binary, constants).total();
}

}  // namespace vkmoe
