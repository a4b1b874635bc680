// The build tool embed_kernels, on shaders it must take or refuse.
#include <unistd.h>

#include <filesystem>
#include <fstream>

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
