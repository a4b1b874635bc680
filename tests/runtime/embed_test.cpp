// The build tool embed_kernels, on shaders it must take or refuse.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "../../tools/cooperative_matrix.h"
#include "fixture.h"

namespace fs = std::filesystem;
using vkmoe::test::contains;

namespace {

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

struct Tool {
  fs::path folder = fs::temp_directory_path() / ("vkmoe-embed-test-" + std::to_string(getpid()));
  Tool() { fs::create_directories(folder); }
  ~Tool() { fs::remove_all(folder); }

  int shell(const std::string& command) {
    return std::system(("cd '" + folder.string() + "' && " + command).c_str());
  }

  // The source that the tool makes of one shader, or what it says against it.
  std::string embed(const std::string& declarations, const std::string& body, bool expected) {
    std::ofstream(folder / "k.comp") << "#version 450\nlayout(local_size_x = 32) in;\n"
                                     << declarations << "\nvoid main() {" << body << "}\n";
    REQUIRE(shell("glslangValidator --quiet --target-env vulkan1.1 -o k.spv k.comp > log") == 0);
    fs::remove(folder / "out.cpp");
    bool done = shell("'" VKMOE_BINARY_DIR "/embed_kernels' out.cpp k.spv 2> error") == 0;
    CHECK(done == expected);
    CHECK(fs::exists(folder / "out.cpp") == expected);
    CHECK(!fs::exists(folder / "out.cpp.tmp"));
    return read_file(folder / (done ? "out.cpp" : "error"));
  }
};

}  // namespace

TEST_CASE("embed_kernels reflects a module") {
  Tool tool;
  std::string source = tool.embed(
      "layout(binding = 0) readonly buffer A { uint a[]; };\n"
      "layout(binding = 1) writeonly buffer B { uint b[]; };\n"
      "layout(push_constant) uniform P { uint x; vec3 y; };",
      "b[0] = a[0] + x + uint(y.z);", true);
  CHECK(contains(source, "{{true, false, false}, {false, true, false}, }"));
  CHECK(contains(source, "{\"k\", words_0, "));
  CHECK(contains(source, ", bindings_0, 2, 28, 0, nullptr, {32u, 1u, 1u}, {-1, -1, -1}},"));
}

TEST_CASE("embed_kernels reflects texel buffers") {
  Tool tool;
  std::string source = tool.embed(
      "layout(binding = 0) uniform usamplerBuffer a;\n"
      "layout(binding = 1) writeonly buffer B { uint b[]; };\n",
      "b[0] = texelFetch(a, 3).x;", true);
  CHECK(contains(source, "{{true, false, true}, {false, true, false}, }"));
}

TEST_CASE("embed_kernels takes no module at all") {
  Tool tool;
  CHECK(tool.shell("'" VKMOE_BINARY_DIR "/embed_kernels' --function none out.cpp") == 0);
  CHECK(contains(read_file(tool.folder / "out.cpp"), "const std::vector<KernelBinary>& none()"));
}

TEST_CASE("embed_kernels refuses what the runtime cannot bind") {
  Tool tool;
  auto refused = [&](const std::string& declarations, const std::string& body, const std::string& why) {
    std::string error = tool.embed(declarations, body, false);
    CHECK_MESSAGE(contains(error, why), error);
    CHECK_MESSAGE(contains(error, "embed_kernels: k.spv: "), error);
  };
  refused("layout(binding = 0) buffer A { uint a[]; }; layout(binding = 2) buffer C { uint c[]; };", "a[0] = c[0];",
          "binding 1 is missing");
  refused("layout(binding = 1) buffer A { uint a[]; };", "a[0] = 1;", "binding 0 is missing");
  refused("layout(set = 1, binding = 0) buffer A { uint a[]; };", "a[0] = 1;", "is in set 1, expected set 0");
  refused("layout(binding = 0) buffer A { uint a[]; } many[2];", "many[0].a[0] = 1;", "is an array of buffers");
  refused("layout(binding = 0) uniform A { uint a; }; layout(binding = 1) buffer B { uint b[]; };", "b[0] = a;",
          "'A' is neither a storage buffer nor a uniform texel buffer");
  refused("layout(constant_id = 1) const uint N = 1; layout(binding = 0) buffer A { uint a[]; };", "a[0] = N;",
          "specialization constant 0 is missing");
  refused("layout(constant_id = 0) const double D = 1; layout(binding = 0) buffer A { uint a[]; };",
          "a[0] = uint(D);", "specialization constant 0 is not 32 bits wide");
  std::ofstream(tool.folder / "k.spv") << "not a module";
  CHECK(tool.shell("'" VKMOE_BINARY_DIR "/embed_kernels' out.cpp k.spv 2> error") != 0);
  CHECK(tool.shell("'" VKMOE_BINARY_DIR "/embed_kernels' out.cpp missing.spv 2> error") != 0);
  CHECK(contains(read_file(tool.folder / "error"), "missing.spv: cannot be read"));
}

TEST_CASE("embed_kernels reflects a kernel of cooperative matrices") {
  Tool tool;
  std::string source = tool.embed(
      "#extension GL_KHR_memory_scope_semantics : require\n"
      "#extension GL_NV_cooperative_matrix : require\n"
      "#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require\n"
      "layout(constant_id = 0) const uint M = 8; layout(constant_id = 1) const uint N = 9; layout(constant_id = 2) const uint K = 10;\n"
      "layout(binding = 0) readonly buffer A { uvec4 a[]; };\n"
      "layout(binding = 1) writeonly buffer B { float b[]; };",
      "fcoopmatNV<16, gl_ScopeSubgroup, M, K> w; fcoopmatNV<16, gl_ScopeSubgroup, K, N> x; coopMatLoadNV(w, a, 0, 4, false);"
      "coopMatLoadNV(x, a, 0, 4, true); coopMatStoreNV(coopMatMulAddNV(w, x, fcoopmatNV<32, gl_ScopeSubgroup, M, N>(0.0)), b, 0, 9, false);",
      true);
  CHECK(contains(source, "{{true, false, false}, {false, true, false}, }"));
  CHECK(contains(source, "spec_0[] = {8u,9u,10u,}"));
  CHECK(contains(source, "6022u"));
  CHECK(!contains(source, "5357u"));
}

TEST_CASE("cooperative matrices: NV's words become KHR's") {
  auto op = [](uint32_t code, const std::vector<uint32_t>& operands) {
    std::vector<uint32_t> words = {uint32_t(operands.size() + 1) << 16 | code};
    words.insert(words.end(), operands.begin(), operands.end());
    return words;
  };
  auto join = [](const std::vector<std::vector<uint32_t>>& parts) {
    std::vector<uint32_t> all;
    for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  };
  auto text = [&](const char* name) {
    std::vector<uint32_t> words(std::strlen(name) / 4 + 1);
    std::memcpy(words.data(), name, std::strlen(name));
    return op(10, words);
  };
  // 1 uint, 2 the scope 3, 3 half, 4 float, 5 true, 6 false, 7 .. 9 sizes, 10 .. 12 types of A, B and accumulator.
  std::vector<uint32_t> header = {0x07230203, 0x10300, 0, 30, 0};
  std::vector<uint32_t> before = join({op(17, {1}), op(21, {1, 32, 0}), op(43, {1, 2, 3}), op(22, {3, 16}), op(22, {4, 32}),
                                       op(41, {20, 5}), op(42, {20, 6}), op(50, {1, 7, 8}), op(50, {1, 8, 8}), op(50, {1, 9, 8})});
  std::vector<uint32_t> types = join({op(5358, {10, 3, 2, 7, 9}), op(5358, {11, 3, 2, 9, 8}), op(5358, {12, 4, 2, 7, 8})});
  std::vector<uint32_t> loads = join({op(5359, {10, 13, 21, 22, 6}), op(5359, {11, 14, 21, 22, 5, 0x30, 2}), op(61, {12, 15, 23})});
  std::vector<uint32_t> store = join({op(62, {24, 14}), op(5360, {21, 16, 22, 5, 0x28, 2}), op(5362, {1, 17, 10})});
  std::vector<uint32_t> module = join({header, op(17, {5357}), text("SPV_KHR_vulkan_memory_model"), text("SPV_NV_cooperative_matrix"),
                                       before, types, loads, op(5361, {12, 16, 13, 14, 15}), store});
  std::vector<uint32_t> khr_header = header;
  khr_header[3] = 33;
  std::vector<uint32_t> want = join(
      {khr_header, op(17, {6022}), text("SPV_KHR_vulkan_memory_model"), text("SPV_KHR_cooperative_matrix"), before,
       op(43, {1, 30, 0}), op(43, {1, 31, 1}), op(43, {1, 32, 2}), op(4456, {10, 3, 2, 7, 9, 30}), op(4456, {11, 3, 2, 9, 8, 31}),
       op(4456, {12, 4, 2, 7, 8, 32}), op(4457, {10, 13, 21, 30, 22}), op(4457, {11, 14, 21, 31, 22, 0x30, 2}), op(61, {12, 15, 23}),
       op(4459, {12, 16, 13, 14, 15}), op(62, {24, 14}), op(4458, {21, 16, 31, 22, 0x28, 2}), op(4460, {1, 17, 10})});
  using vkmoe::CooperativeMatrices;
  CHECK(CooperativeMatrices(module).as_khr() == want);
  std::vector<uint32_t> plain = join({header, before});
  CHECK(CooperativeMatrices(plain).as_khr() == plain);

  auto refused = [](const std::vector<uint32_t>& words, const std::string& why) {
    try {
      CooperativeMatrices(words).as_khr();
      FAIL("taken, in place of: " << why);
    } catch (const std::runtime_error& error) {
      CHECK_MESSAGE(contains(error.what(), why), error.what());
    }
  };
  refused(join({header, before, types}), "no multiply-add says what a matrix type is used as");
  refused(join({header, before, types, loads, op(5361, {12, 16, 13, 13, 15})}), "one type is used as two operands");
  refused(join({header, before, types, loads, op(5361, {12, 16, 13, 2, 15})}), "is no matrix");
  refused(join({header, before, types, op(5359, {10, 13, 21, 22, 7}), op(5361, {12, 16, 13, 14, 15})}), "is no matrix");
  refused(join({header, before, types, loads, op(5361, {12, 16, 13, 14, 15}), op(5360, {21, 16, 22, 7})}), "is no constant");
  refused(join({header, {9u << 16 | 17, 1}}), "broken SPIR-V at word 5");
  refused({1, 2}, "no header");
}
