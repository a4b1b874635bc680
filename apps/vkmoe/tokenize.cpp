// vkmoe tokenize: the ids of a text, and the text of ids.
#include "commands.h"
#include "common.h"

namespace {

struct Options {
  std::string model, text_path;
  bool special = false, bos = false, eos = false, json = false, decode = false;
};

void detokenize_file(const Options& options) {
  const std::vector<int32_t> ids = parse_ids(input_name(options.text_path), read_input(options.text_path), 1u << 31);
  char* text = nullptr;
  size_t text_bytes = 0;
  check(vkmoe_detokenize_with(model_path(options.model).c_str(), ids.data(), ids.size(), options.special, &text, &text_bytes));
  const std::unique_ptr<char, void (*)(char*)> owner(text, vkmoe_string_free);
  print(std::string_view(text, text_bytes));
}

void tokenize_file(const Options& options) {
  const std::string text = read_input(options.text_path);
  uint32_t flags = 0;
  if (options.special) flags |= VKMOE_TOKENIZE_SPECIAL;
  if (options.bos) flags |= VKMOE_TOKENIZE_BOS;
  if (options.eos) flags |= VKMOE_TOKENIZE_EOS;
  int32_t* ids = nullptr;
  size_t count = 0;
  check(vkmoe_tokenize_with(model_path(options.model).c_str(), text.data(), text.size(), flags, &ids, &count));
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
  CLI::App* app = program.add_subcommand("tokenize", "Prints the token ids of exactly the bytes of a text, or the text of ids");
  auto options = std::make_shared<Options>();
  add_model_option(*app, options->model);
  app->add_option("-f,--file", options->text_path, "the text, or ids; - is standard input")->required();
  app->add_flag("--special", options->special, "text that looks like a special token becomes that token, and back");
  auto* bos = app->add_flag("--bos", options->bos, "put the beginning-of-sequence token first where the model wants one");
  auto* eos = app->add_flag("--eos", options->eos, "put the end-of-sequence token last, as an encoder wants it");
  auto* json = app->add_flag("--json", options->json, "print a JSON array");
  app->add_flag("--decode", options->decode, "the file holds ids: print their text")->excludes(bos, eos, json);
  app->callback([options] { options->decode ? detokenize_file(*options) : tokenize_file(*options); });
}
