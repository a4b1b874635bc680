// Rewrites SPV_NV_cooperative_matrix, which older glslang can write, as SPV_KHR_cooperative_matrix, which drivers take: the
// same operations, with a use for each type and a layout in place of a flag. Called by embed_kernels. After both
// specifications.
#pragma once
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace vkmoe {

class CooperativeMatrices {
 public:
  // A module; throws std::runtime_error where it is broken, or where no multiply-add, or more than one kind of operand, says
  // what a matrix type is used as.
  explicit CooperativeMatrices(const std::vector<uint32_t>& words) : words_(words) {
    for_each([this](const uint32_t* w, uint32_t count) { declare(w, count); });
    for_each([this](const uint32_t* w, uint32_t count) { find_use(w, count); });
  }

  // The module without the NV extension; the same words where it does not use it.
  std::vector<uint32_t> as_khr() {
    std::vector<uint32_t> out(words_.begin(), words_.begin() + header_words);
    first_constant_ = words_[3];
    for_each([&](const uint32_t* w, uint32_t count) { translate(w, count, out); });
    if (constants_made_) out[3] += 3;
    return out;
  }

  // The module with vectors in place of matrices, for tools that know neither extension and look at declarations only.
  std::vector<uint32_t> as_vectors() const {
    std::vector<uint32_t> out(words_.begin(), words_.begin() + header_words);
    for_each([&](const uint32_t* w, uint32_t count) {
      if (opcode(w) == op_type_nv) append(out, op_type_vector, {w[1], w[2], 4});
      else out.insert(out.end(), w, w + count);
    });
    return out;
  }

 private:
  enum : uint32_t {
    header_words = 5,
    op_name = 5,
    op_member_name = 6,
    op_extension = 10,
    op_capability = 17,
    op_type_vector = 23,
    op_constant_true = 41,
    op_constant_false = 42,
    op_constant = 43,
    op_decorate = 71,
    op_member_decorate = 72,
    op_type_khr = 4456,
    op_load_khr = 4457,
    op_store_khr = 4458,
    op_mul_add_khr = 4459,
    op_length_khr = 4460,
    op_type_nv = 5358,
    op_load_nv = 5359,
    op_store_nv = 5360,
    op_mul_add_nv = 5361,
    op_length_nv = 5362,
    capability_khr = 6022,
    capability_nv = 5357,
    use_a = 0,
    use_b = 1,
    use_accumulator = 2,
  };

  static uint32_t opcode(const uint32_t* w) { return w[0] & 0xffff; }

  static void append(std::vector<uint32_t>& out, uint32_t op, const std::vector<uint32_t>& operands) {
    out.push_back(uint32_t(operands.size() + 1) << 16 | op);
    out.insert(out.end(), operands.begin(), operands.end());
  }

  [[noreturn]] static void fail(const std::string& message) {
    throw std::runtime_error("cooperative matrices: " + message);
  }

  // Calls visit(instruction, words of it).
  template <class Visit>
  void for_each(const Visit& visit) const {
    if (words_.size() < header_words) fail("broken SPIR-V: no header");
    for (size_t at = header_words; at < words_.size();) {
      uint32_t count = words_[at] >> 16;
      if (count == 0 || count > words_.size() - at) fail("broken SPIR-V at word " + std::to_string(at));
      bool nv = opcode(&words_[at]) >= op_type_nv && opcode(&words_[at]) <= op_length_nv;
      if (nv && count < (opcode(&words_[at]) == op_length_nv ? 4u : 5u)) fail("broken SPIR-V at word " + std::to_string(at));
      visit(&words_[at], count);
      at += count;
    }
  }

  void declare(const uint32_t* w, uint32_t count) {
    uint32_t op = opcode(w);
    if (op == op_type_nv) uses_[w[1]] = -1;
    if (op == op_name || op == op_member_name || op == op_decorate || op == op_member_decorate) return;
    if (count >= 3) type_of_.emplace(w[2], w[1]);  // what is no result was one before, or is never asked for
    if (op == op_constant_true && count == 3) column_major_[w[2]] = 1;
    if (op == op_constant_false && count == 3) column_major_[w[2]] = 0;
  }

  void find_use(const uint32_t* w, uint32_t count) {
    if (opcode(w) != op_mul_add_nv) return;
    if (count < 6) fail("a multiply-add without operands");
    set_use(w[1], use_accumulator);
    for (uint32_t i = 0; i < 3; ++i) set_use(type_of_[w[3 + i]], int(i));
  }

  void set_use(uint32_t type, int use) {
    auto found = uses_.find(type);
    if (found == uses_.end()) fail("an operand of a multiply-add is no matrix");
    if (found->second >= 0 && found->second != use) fail("one type is used as two operands of multiply-adds");
    found->second = use;
  }

  uint32_t layout(uint32_t flag) const {
    auto found = column_major_.find(flag);
    if (found == column_major_.end()) fail("what says whether a matrix is column-major is no constant");
    return first_constant_ + found->second;
  }

  void translate(const uint32_t* w, uint32_t count, std::vector<uint32_t>& out) {
    auto rest = [&](std::vector<uint32_t> operands, uint32_t from) {
      operands.insert(operands.end(), w + from, w + count);
      return operands;
    };
    switch (opcode(w)) {
      case op_capability:
        return append(out, op_capability, {w[1] == capability_nv ? uint32_t(capability_khr) : w[1]});
      case op_extension: {
        std::string name(reinterpret_cast<const char*>(w + 1), (count - 1) * 4);
        if (name.c_str() == std::string("SPV_NV_cooperative_matrix")) name = "SPV_KHR_cooperative_matrix";
        else return append(out, op_extension, rest({}, 1));
        std::vector<uint32_t> text(name.size() / 4 + 1);
        std::memcpy(text.data(), name.data(), name.size());
        return append(out, op_extension, text);
      }
      case op_type_nv:
        if (count != 6) fail("a matrix type of " + std::to_string(count) + " words, expected 6");
        if (uses_[w[1]] < 0) fail("no multiply-add says what a matrix type is used as");
        if (!constants_made_) {  // 0, 1, 2 of the integer type that the scope has, before the first that needs them
          for (uint32_t i = 0; i < 3; ++i) append(out, op_constant, {type_of_[w[3]], first_constant_ + i, i});
          constants_made_ = true;
        }
        return append(out, op_type_khr, {w[1], w[2], w[3], w[4], w[5], first_constant_ + uint32_t(uses_[w[1]])});
      case op_load_nv:
        if (count < 6) fail("a load without operands");
        return append(out, op_load_khr, rest({w[1], w[2], w[3], layout(w[5]), w[4]}, 6));
      case op_store_nv:
        return append(out, op_store_khr, rest({w[1], w[2], layout(w[4]), w[3]}, 5));
      case op_mul_add_nv:
        return append(out, op_mul_add_khr, rest({}, 1));
      case op_length_nv:
        return append(out, op_length_khr, rest({}, 1));
      default:
        out.insert(out.end(), w, w + count);
    }
  }

  const std::vector<uint32_t>& words_;
  std::map<uint32_t, int> uses_;               // by matrix type; -1: not known
  std::map<uint32_t, uint32_t> type_of_;       // by result id
  std::map<uint32_t, uint32_t> column_major_;  // by boolean constant
  uint32_t first_constant_ = 0;
  bool constants_made_ = false;
};

}  // namespace vkmoe
