// What ModelFile is put together from: readers of one file each. Used by model_file.cpp only.
#pragma once
#include <string>

#include "loader/model_file.h"

namespace vkmoe {

// Adds the tensors of one GGUF file and returns its key-values.
nlohmann::json read_gguf(const MappedFile& file, ModelFile& model);

// Adds the tensors of one safetensors file.
void read_safetensors(const MappedFile& file, ModelFile& model);

// Gives tensors in F8_E4M3 the scales that the file names after them, which are no tensors of the model any more.
void attach_scales(ModelFile& model);

// Joins every pair of X_blocks (.., rows, k/32, 16) and X_scales (.., rows, k/32) to an MXFP4 tensor X_blocks (.., rows, k).
void join_mxfp4(ModelFile& model);

// Adds a tensor; its name must be new.
void add_tensor(ModelFile& model, Tensor&& tensor, const std::string& path);

}  // namespace vkmoe
