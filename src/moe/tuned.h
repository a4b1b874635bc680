// Workgroup shapes that `vkmoe tune` measured, kept in a file beside the pipeline cache: by device, driver and version of
// vkmoe (the file's name), kernels (a checksum in it) and shapes of a model. Sessions take what matches.
#pragma once
#include <optional>
#include <string>

#include "moe/model.h"
#include "moe/ops/ops.h"

namespace vkmoe {

// What a choice holds for: the distinct matrices and the attention of a model, as text.
std::string shape_set(const Model& model);

// What is stored for the model's shapes; nothing where there is none, or it was made for other kernels. A file that cannot
// be read as one is ignored, with one warning on standard error.
std::optional<Tuning> stored_tuning(const Model& model);

// Stores a choice beside those of other shapes, which stay where they are for the same kernels. The file is replaced whole.
// Returns its path; fails with VKMOE_ERROR_NOT_FOUND where there is no folder for it or it cannot be written.
std::string store_tuning(const Model& model, const Tuning& tuning);

// What is stored, else Tuning::of.
Tuning tuning_for(const Model& model);

// The parts of a Tuning that are measured and stored; from_json starts from `base` and throws nlohmann's exceptions or
// std::out_of_range where something is missing or no shape that the kernels have.
nlohmann::ordered_json to_json(const Tuning& tuning);
Tuning from_json(const nlohmann::json& json, const Tuning& base, const Caps& caps);

// Whether matmul.comp has a workgroup of this shape for a height, or matmul_staged.comp or matmul_int8.comp, and the device
// such workgroups.
bool possible(const Tuning::Staged& staged, const Caps& caps);
bool possible(const Tuning::Int8& int8, const Caps& caps);
bool possible(Products products, const Caps& caps);  // whether the device multiplies such
bool possible(const Tuning::Matmul& shape, uint32_t height, bool texels, const Caps& caps);

}  // namespace vkmoe
