// Build tool: turns SPIR-V modules into a .cpp that defines a list of KernelBinary (src/runtime/kernel.h), with what
// SPIRV-Cross reflects of each: bindings and their use, push constants, specialization constants, workgroup size. Cooperative
// matrices are embedded in their KHR form.
// embed_kernels [--function NAME] OUT.cpp A.spv B.spv ...
#include <spirv.h>
#include <spirv_cross_c.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "cooperative_matrix.h"

namespace {

struct Binding {
  bool reads = false, writes = false, texels = false;
};

struct Module {
  std::string name;
  std::vector<uint32_t> words;
  std::vector<Binding> bindings;
  std::vector<uint32_t> spec_defaults;
  uint32_t push_bytes = 0;
  uint32_t local_size[3] = {};
  int32_t local_size_spec[3] = {-1, -1, -1};
};

[[noreturn]] void fail(const std::string& message) { throw std::runtime_error(message); }

std::vector<uint32_t> read_words(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("cannot be read");
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.empty() || bytes.size() % 4) fail("is not a SPIR-V module: " + std::to_string(bytes.size()) + " bytes");
  std::vector<uint32_t> words(bytes.size() / 4);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(words.data()));
  return words;
}

// One module as SPIRV-Cross sees it.
class Reflection {
 public:
  explicit Reflection(Module& module) : module_(module) {
    if (spvc_context_create(&context_) != SPVC_SUCCESS) fail("SPIRV-Cross has no context");
    spvc_parsed_ir ir = nullptr;
    std::vector<uint32_t> words = vkmoe::CooperativeMatrices(module.words).as_vectors();
    check(spvc_context_parse_spirv(context_, words.data(), words.size(), &ir));
    check(spvc_context_create_compiler(context_, SPVC_BACKEND_NONE, ir, SPVC_CAPTURE_MODE_TAKE_OWNERSHIP, &compiler_));
    check(spvc_compiler_create_shader_resources(compiler_, &resources_));
  }
  ~Reflection() { spvc_context_destroy(context_); }
  Reflection(const Reflection&) = delete;
  Reflection& operator=(const Reflection&) = delete;

  void run() {
    refuse_other_resources();
    bindings();
    push_constants();
    specialization();
    workgroup_size();
  }

 private:
  struct List {
    const spvc_reflected_resource* items = nullptr;
    size_t count = 0;
    const spvc_reflected_resource* begin() const { return items; }
    const spvc_reflected_resource* end() const { return items + count; }
  };

  void check(spvc_result result) {
    if (result != SPVC_SUCCESS) fail(std::string("SPIRV-Cross: ") + spvc_context_get_last_error_string(context_));
  }

  List list(spvc_resource_type type) {
    List list;
    check(spvc_resources_get_resource_list_for_type(resources_, type, &list.items, &list.count));
    return list;
  }

  void refuse_other_resources() {
    for (auto type : {SPVC_RESOURCE_TYPE_UNIFORM_BUFFER, SPVC_RESOURCE_TYPE_STORAGE_IMAGE,
                      SPVC_RESOURCE_TYPE_SEPARATE_IMAGE,
                      SPVC_RESOURCE_TYPE_SEPARATE_SAMPLERS, SPVC_RESOURCE_TYPE_ATOMIC_COUNTER,
                      SPVC_RESOURCE_TYPE_SUBPASS_INPUT, SPVC_RESOURCE_TYPE_ACCELERATION_STRUCTURE}) {
      for (const auto& resource : list(type)) {
        fail(std::string("'") + resource.name + "' is neither a storage buffer nor a uniform texel buffer; kernels bind no other kinds");
      }
    }
  }

  // The binding of a resource, checked. Several resources at one binding are views of the same buffer: their use adds up.
  Binding& binding(const spvc_reflected_resource& resource, const std::string& kind) {
    std::string name = kind + " '" + resource.name + "'";
    if (!spvc_compiler_has_decoration(compiler_, resource.id, SpvDecorationBinding)) fail(name + " has no binding");
    uint32_t set = spvc_compiler_get_decoration(compiler_, resource.id, SpvDecorationDescriptorSet);
    if (set != 0) fail(name + " is in set " + std::to_string(set) + ", expected set 0");
    if (spvc_type_get_num_array_dimensions(spvc_compiler_get_type_handle(compiler_, resource.type_id))) {
      fail(name + " is an array of buffers");
    }
    return found_[spvc_compiler_get_decoration(compiler_, resource.id, SpvDecorationBinding)];
  }

  void bindings() {
    for (const auto& resource : list(SPVC_RESOURCE_TYPE_STORAGE_BUFFER)) {
      Binding& to = binding(resource, "storage buffer");
      const SpvDecoration* decorations = nullptr;
      size_t count = 0;
      check(spvc_compiler_get_buffer_block_decorations(compiler_, resource.id, &decorations, &count));
      auto has = [&](SpvDecoration wanted) {
        return std::find(decorations, decorations + count, wanted) != decorations + count;
      };
      to.reads |= !has(SpvDecorationNonReadable);
      to.writes |= !has(SpvDecorationNonWritable);
    }
    for (const auto& resource : list(SPVC_RESOURCE_TYPE_SAMPLED_IMAGE)) {
      if (spvc_type_get_image_dimension(spvc_compiler_get_type_handle(compiler_, resource.type_id)) != SpvDimBuffer) {
        fail(std::string("'") + resource.name + "' is a texture; kernels bind buffers only");
      }
      Binding& to = binding(resource, "texel buffer");
      to.reads = to.texels = true;
      if (to.writes) fail(std::string("'") + resource.name + "' shares its binding with a storage buffer");
    }
    for (const auto& [number, binding] : found_) {
      if (number != module_.bindings.size()) {
        fail("binding " + std::to_string(module_.bindings.size()) + " is missing; bindings must be 0, 1, 2, ...");
      }
      module_.bindings.push_back(binding);
    }
  }

  void push_constants() {
    for (const auto& resource : list(SPVC_RESOURCE_TYPE_PUSH_CONSTANT)) {
      size_t size = 0;
      spvc_type type = spvc_compiler_get_type_handle(compiler_, resource.base_type_id);
      check(spvc_compiler_get_declared_struct_size(compiler_, type, &size));
      module_.push_bytes = std::max(module_.push_bytes, uint32_t(size));
    }
  }

  void specialization() {
    const spvc_specialization_constant* constants = nullptr;
    size_t count = 0;
    check(spvc_compiler_get_specialization_constants(compiler_, &constants, &count));
    std::map<uint32_t, uint32_t> defaults;
    for (size_t i = 0; i < count; i++) {
      spvc_constant constant = spvc_compiler_get_constant_handle(compiler_, constants[i].id);
      spvc_type type = spvc_compiler_get_type_handle(compiler_, spvc_constant_get_type(constant));
      spvc_basetype base = spvc_type_get_basetype(type);
      if (base != SPVC_BASETYPE_UINT32 && base != SPVC_BASETYPE_INT32 && base != SPVC_BASETYPE_FP32 &&
          base != SPVC_BASETYPE_BOOLEAN) {
        fail("specialization constant " + std::to_string(constants[i].constant_id) + " is not 32 bits wide");
      }
      defaults[constants[i].constant_id] = spvc_constant_get_scalar_u32(constant, 0, 0);
    }
    for (const auto& [id, value] : defaults) {
      if (id != module_.spec_defaults.size()) {
        fail("specialization constant " + std::to_string(module_.spec_defaults.size()) +
             " is missing; their ids must be 0, 1, 2, ...");
      }
      module_.spec_defaults.push_back(value);
    }
  }

  void workgroup_size() {
    spvc_specialization_constant by_constant[3] = {};
    spvc_compiler_get_work_group_size_specialization_constants(compiler_, &by_constant[0], &by_constant[1],
                                                               &by_constant[2]);
    for (int axis = 0; axis < 3; axis++) {
      module_.local_size[axis] =
          spvc_compiler_get_execution_mode_argument_by_index(compiler_, SpvExecutionModeLocalSize, unsigned(axis));
      if (by_constant[axis].id == 0) continue;
      module_.local_size_spec[axis] = int32_t(by_constant[axis].constant_id);
      module_.local_size[axis] = module_.spec_defaults.at(by_constant[axis].constant_id);
    }
  }

  Module& module_;
  std::map<uint32_t, Binding> found_;
  spvc_context context_ = nullptr;
  spvc_compiler compiler_ = nullptr;
  spvc_resources resources_ = nullptr;
};

std::string words_text(const std::vector<uint32_t>& words) {
  std::ostringstream out;
  for (size_t i = 0; i < words.size(); i++) out << words[i] << (i % 12 == 11 ? "u,\n" : "u,");
  return out.str();
}

std::string source_text(const std::vector<Module>& modules, const std::string& function) {
  std::ostringstream out, rows;
  out << "// Generated by embed_kernels.\n#include \"runtime/kernel.h\"\n\nnamespace vkmoe {\nnamespace {\n";
  for (size_t m = 0; m < modules.size(); m++) {
    const Module& module = modules[m];
    std::string bindings = "nullptr", defaults = "nullptr";
    out << "const uint32_t words_" << m << "[] = {\n" << words_text(module.words) << "};\n";
    if (!module.bindings.empty()) {
      bindings = "bindings_" + std::to_string(m);
      out << "const KernelBinary::Binding " << bindings << "[] = {";
      for (const Binding& b : module.bindings) {
        out << (b.reads ? "{true, " : "{false, ") << (b.writes ? "true, " : "false, ") << (b.texels ? "true}, " : "false}, ");
      }
      out << "};\n";
    }
    if (!module.spec_defaults.empty()) {
      defaults = "spec_" + std::to_string(m);
      out << "const uint32_t " << defaults << "[] = {" << words_text(module.spec_defaults) << "};\n";
    }
    rows << "      {\"" << module.name << "\", words_" << m << ", " << module.words.size() << ", " << bindings << ", "
         << module.bindings.size() << ", " << module.push_bytes << ", " << module.spec_defaults.size() << ", "
         << defaults << ", {" << module.local_size[0] << "u, " << module.local_size[1] << "u, " << module.local_size[2]
         << "u}, {" << module.local_size_spec[0] << ", " << module.local_size_spec[1] << ", "
         << module.local_size_spec[2] << "}},\n";
  }
  out << "}  // namespace\n\nconst std::vector<KernelBinary>& " << function << "();\nconst std::vector<KernelBinary>& "
      << function << "() {\n  static const std::vector<KernelBinary> kernels = {\n"
      << rows.str() << "  };\n  return kernels;\n}\n\n}  // namespace vkmoe\n";
  return out.str();
}

// Through a temporary file, so that a build that is interrupted leaves no half file behind.
void write_file(const std::string& path, const std::string& text) {
  std::string temporary = path + ".tmp";
  {
    std::ofstream file(temporary, std::ios::binary);
    file << text;
    file.flush();
    if (!file) fail("cannot be written: " + temporary);
  }
  std::filesystem::rename(temporary, path);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  std::string function = "embedded_kernels", subject;
  try {
    if (arguments.size() >= 2 && arguments[0] == "--function") {
      function = arguments[1];
      arguments.erase(arguments.begin(), arguments.begin() + 2);
    }
    if (arguments.empty()) fail("usage: embed_kernels [--function NAME] OUT.cpp A.spv ...");
    std::vector<Module> modules;
    for (size_t i = 1; i < arguments.size(); i++) {
      subject = arguments[i] + ": ";
      Module module;
      module.name = std::filesystem::path(arguments[i]).stem().string();
      module.words = read_words(arguments[i]);
      Reflection(module).run();
      module.words = vkmoe::CooperativeMatrices(module.words).as_khr();
      modules.push_back(std::move(module));
    }
    subject.clear();
    std::sort(modules.begin(), modules.end(), [](const Module& a, const Module& b) { return a.name < b.name; });
    for (size_t i = 1; i < modules.size(); i++) {
      if (modules[i].name == modules[i - 1].name) fail("two modules are named " + modules[i].name);
    }
    write_file(arguments[0], source_text(modules, function));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "embed_kernels: %s%s\n", subject.c_str(), e.what());
    return 1;
  }
  return 0;
}
