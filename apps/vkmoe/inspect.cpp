// vkmoe inspect: what a model is and what it needs, from its file alone.
#include "commands.h"
#include "common.h"

namespace {

struct Options {
  std::string positional, model;
  uint32_t context_tokens = 0;
  bool json = false;
};

using Json = nlohmann::ordered_json;

std::string scalar(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

void row(std::string& text, const std::string& key, const std::string& value) {
  text += key + std::string(key.size() < 30 ? 30 - key.size() : 1, ' ') + value + "\n";
}

// An object's values, one a line; those whose key ends in _bytes as sizes.
void rows(std::string& text, const Json& object) {
  for (const auto& [key, value] : object.items()) {
    const bool bytes = key.ends_with("_bytes") && value.is_number();
    row(text, "  " + key, bytes ? bytes_text(value.get<double>()) : scalar(value));
  }
}

std::string table(const Json& model) {
  std::string text;
  for (const char* key : {"path", "kind", "name", "architecture", "chat_template"}) {
    if (model.contains(key)) row(text, key, scalar(model[key]));
  }
  text += "\nparameters\n";
  for (const auto& [key, value] : model.at("parameters").items())
    row(text, "  " + key, count_text(value.get<double>()));
  row(text, "bytes per decoded token", bytes_text(model.at("bytes_per_decoded_token").get<double>()));
  text += "\nhyper-parameters\n";
  rows(text, model.at("hyper_parameters"));
  if (model.contains("encoder")) {
    text += "\nencoder\n";
    rows(text, model.at("encoder"));
  }
  text += "\ntensors\n";
  row(text, "  count", scalar(model.at("tensors").at("count")));
  for (const Json& type : model.at("tensors").at("by_type")) {
    row(text, "  " + scalar(type.at("type")),
        scalar(type.at("count")) + " tensors, " + bytes_text(type.at("bytes").get<double>()));
  }
  text += "\nmemory that a run needs\n";
  rows(text, model.at("memory"));
  if (model.contains("tokenizer")) {
    text += "\ntokenizer\n";
    rows(text, model.at("tokenizer"));
  }
  return text;
}

void inspect(const Options& options) {
  if (!options.positional.empty() && !options.model.empty()) {
    throw Failure("a model is given twice, by --model and alone (see vkmoe inspect --help)", 2);
  }
  char* text = nullptr;
  check(vkmoe_inspect_json(model_path(options.positional + options.model).c_str(), options.context_tokens, &text));
  const std::unique_ptr<char, void (*)(char*)> owner(text, vkmoe_string_free);
  const Json model = Json::parse(text);
  if (options.json)
    print_json(model);
  else
    print(table(model));
}

}  // namespace

void add_inspect(CLI::App& program) {
  CLI::App* app = program.add_subcommand("inspect", "Shows what a model is and what it needs, from its file alone");
  auto options = std::make_shared<Options>();
  app->add_option("MODEL", options->positional, "GGUF file or Hugging Face folder (default: as --model's)");
  add_model_option(*app, options->model);
  app->add_option("-c,--context", options->context_tokens,
                  "tokens to reckon the memory for (default: the model's own)")
      ->check(CLI::PositiveNumber);
  app->add_flag("--json", options->json, "print a JSON object");
  app->callback([options] { inspect(*options); });
}
