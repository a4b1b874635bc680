// libFuzzer target: config.json, generation_config.json and tokenizer_config.json, parted by zero bytes, in a folder that
// is opened. A family known from tests/data/goldens gets that model's tensors, so that reading goes on beyond the
// hyper-parameters.
#include <filesystem>
#include <fstream>

#include "input.h"
#include "moe/model_spec.h"

namespace fs = std::filesystem;
using namespace vkmoe;

namespace {

// A folder a family, with the tensors of its golden; no family: no tensors.
struct Folders {
  fs::path root;
  std::map<std::string, fs::path> by_family;

  Folders() {
    std::string name = (fs::temp_directory_path() / "config_fuzz.XXXXXX").string();
    if (!mkdtemp(name.data())) std::abort();
    root = name;
    add("", {});
    for (const auto& entry : fs::directory_iterator(VKMOE_SOURCE_DIR "/tests/data/goldens"))
      add(ModelFile::open(entry.path().string())->metadata.at("model_type"), entry.path());
  }
  ~Folders() { fs::remove_all(root); }

  void add(const std::string& family, const fs::path& golden) {
    if (by_family.count(family)) return;
    fs::path folder = by_family[family] = root / ("of_" + family);
    fs::create_directory(folder);
    if (golden.empty()) return;
    for (const auto& entry : fs::directory_iterator(golden)) {
      std::string name = entry.path().filename().string();
      if (name.starts_with("model") && name.find(".gguf") == name.npos) fs::create_symlink(entry.path(), folder / name);
    }
  }
};

void write(const fs::path& path, std::string_view text) {
  fs::remove(path);
  if (!text.empty()) std::ofstream(path, std::ios::binary) << text;
}

const Folders& folders() {
  static const Folders made;
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  folders();  // which takes longer than an input
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size), config = next_part(input);
  try {
    nlohmann::json parsed = json_part(config);
    const nlohmann::json* type = json_member(parsed, "model_type");
    const auto& known = folders().by_family;
    auto at = known.find(type && type->is_string() ? type->get<std::string>() : "");
    fs::path folder = (at == known.end() ? known.begin() : at)->second;
    write(folder / "config.json", config);
    write(folder / "generation_config.json", next_part(input));
    write(folder / "tokenizer_config.json", next_part(input));
    count_parameters(read_model_spec(ModelFile::open(folder.string())));
  } catch (const Error&) {
  }
  return 0;
}
