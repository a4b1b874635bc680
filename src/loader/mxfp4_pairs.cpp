// MXFP4 as gpt-oss's safetensors hold it: scales and blocks in arrays of their own, which Tensor::row() joins as it reads.
// Called by model_file.cpp.
#include "base/error.h"
#include "base/numeric.h"
#include "loader/model_parts.h"

namespace vkmoe {

void join_mxfp4(ModelFile& model) {
  const std::string blocks_end = "_blocks", scales_end = "_scales";
  std::vector<std::string> joined;
  for (const auto& [name, blocks] : model.skipped) {
    if (!name.ends_with(blocks_end)) continue;
    std::string scales_name = name.substr(0, name.size() - blocks_end.size()) + scales_end;
    auto scales = model.skipped.find(scales_name);
    if (scales == model.skipped.end())
      fail(VKMOE_ERROR_BAD_FILE, model.path, ": tensor '", name, "': its scales, tensor '", scales_name, "', are missing");
    std::vector<uint64_t> expected = blocks.shape;
    if (blocks.dtype != "U8" || expected.size() < 3 || expected.back() != 16)
      fail(VKMOE_ERROR_BAD_FILE, model.path, ": tensor '", name, "': expected U8 (.., rows, k / 32, 16), found ", blocks.dtype,
           " ", shape_text(blocks.shape));
    expected.pop_back();
    if (scales->second.dtype != "U8" || scales->second.shape != expected)
      fail(VKMOE_ERROR_BAD_FILE, model.path, ": tensor '", scales_name, "': expected U8 ", shape_text(expected), ", found ",
           scales->second.dtype, " ", shape_text(scales->second.shape));
    Tensor tensor{name, find_format("MXFP4"), expected, blocks.data, 17};
    tensor.block_scales = scales->second.data;
    tensor.file = blocks.file;
    for (uint64_t dim : expected) tensor.size_bytes *= dim;  // the file holds as many
    if (!checked_mul(expected.back(), 32, &tensor.shape.back()))
      fail(VKMOE_ERROR_BAD_FILE, model.path, ": tensor '", name, "': its shape ", shape_text(blocks.shape), " is too large");
    add_tensor(model, std::move(tensor), model.path);
    joined.insert(joined.end(), {name, scales_name});
  }
  for (const std::string& name : joined) model.skipped.erase(name);
}

}  // namespace vkmoe
