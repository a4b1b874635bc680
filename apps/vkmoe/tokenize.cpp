// vkmoe tokenize: the ids of a text.
#include "commands.h"
#include "common.h"

namespace {

struct Options {
  std::string model, text_path;
  bool special = false, json = false;
};

void tokenize_file(const Options& options) {
  const std::string text = read_input(options.text_path);
  int32_t* ids = nullptr;
  size_t count = 0;
  check(vkmoe_tokenize_with(model_path(options.model).c_str(), text.data(), text.size(),
                            options.special ? VKMOE_TOKENIZE_SPECIAL : 0, &ids, &count));
  const std::unique_ptr<int32_t, void (*)(int32_t*)> owner(ids, vkmoe_ids_free);
  std::string line;
  for (size_t i = 0; i < count; ++i) {
    if (i) line += options.json ? ", " : " ";
    line += std::to_string(ids[i]);
  }
  print(options.json ? "[" + line + "]\n" : line + "\n");
}

}  // namespace

void add_tokenize(CLI::App& program) {
  CLI::App* app = program.add_subcommand("tokenize", "Prints the token ids of exactly the bytes of a text");
  auto options = std::make_shared<Options>();
  add_model_option(*app, options->model);
  app->add_option("-f,--file", options->text_path, "the text; - is standard input")->required();
  app->add_flag("--special", options->special, "text that looks like a special token becomes that token");
  app->add_flag("--json", options->json, "print a JSON array");
  app->callback([options] { tokenize_file(*options); });
}
