// vkmoe models: the families that run, what people have of them and what fits where, from the library's own list.
#include "commands.h"
#include "common.h"

namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& object, const char* key) { return object.at(key).get<std::string>(); }

std::string joined(const Json& list, const std::string& quote) {
  std::string text;
  for (const Json& item : list) text += (text.empty() ? "" : ", ") + quote + item.get<std::string>() + quote;
  return text.empty() ? "-" : text;
}

std::string billions(const Json& value) {
  const double n = value.get<double>();
  return fixed(n, n < 10 ? 1 : 0) + " B";
}

std::string choice(const Json& largest) {
  if (largest.is_null()) return "-";
  return text_of(largest, "model") + " (" + text_of(largest, "type") + ")";
}

std::string row(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line += " " + cell + " |";
  return line + "\n";
}

std::string rule(size_t columns) {
  std::string line = "|";
  for (size_t i = 0; i < columns; ++i) line += "---|";
  return line + "\n";
}

// One row for each released model: name, parameters, active ones, and the largest type for each memory.
std::vector<std::vector<std::string>> released(const Json& all) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& family : all.at("families")) {
    for (const Json& model : family.at("models")) {
      rows.push_back({text_of(model, "name"), text_of(family, "family"), billions(model.at("billions")), billions(model.at("active_billions"))});
      for (const Json& type : model.at("largest_type_that_fits")) rows.back().push_back(type.is_null() ? "-" : type.get<std::string>());
    }
  }
  return rows;
}

std::string markdown(const Json& all) {
  std::string text =
      "# Models\n\nWritten by `vkmoe models --markdown` from vkmoe's own list; a test holds this file equal to it.\n\n"
      "## Families\n\nA Hugging Face folder is recognised by `model_type` in its config.json, a GGUF by `general.architecture`. "
      "*Tried as* says in which\nforms a tiny model of the family is held to logits from outside (transformers', or NumPy's for "
      "Grok-1), on the device and\non the CPU reference, as one prompt and token by token.\n\n";
  text += row({"Family", "`model_type`", "GGUF", "Tried as"}) + rule(4);
  for (const Json& family : all.at("families"))
    text += row({text_of(family, "family"), joined(family.at("model_type"), "`"), joined(family.at("gguf_architecture"), "`"),
                 text_of(family, "tried_as")});
  std::vector<std::string> head = {"Model", "Family", "Parameters", "Active"};
  for (const Json& memory : all.at("memories")) head.push_back(text_of(memory, "memory"));
  text +=
      "\n## Released models, and the largest type that fits\n\nComputed: all parameters in one type must fit nine tenths of "
      "the memory less 0.5 GB for cache and activations; a phone is\nmeant to give 4 GB. Files mix types and are a few percent "
      "larger or smaller. Bits a weight:";
  for (const auto& [type, bits] : all.at("bits").items()) text += " " + type + " " + fixed(bits.get<double>(), 2) + ",";
  text.back() = '.';
  text += "\n\n" + row(head) + rule(head.size());
  for (const std::vector<std::string>& cells : released(all)) text += row(cells);
  text += "\nThe largest that fits:\n\n" + row({"Memory", "with 4 bits and more", "in any type"}) + rule(3);
  for (const Json& memory : all.at("memories"))
    text += row({text_of(memory, "memory"), choice(memory.at("largest_with_4_bits")), choice(memory.at("largest"))});
  text += "\n## Where others compute something else\n\nvkmoe follows transformers, and the release where that is the definition.\n\n";
  for (const Json& family : all.at("families")) {
    const std::string differ = text_of(family, "others_differ");
    if (!differ.empty()) text += "- **" + text_of(family, "family") + "**: " + differ + "\n";
  }
  return text;
}

std::string table(const Json& all) {
  std::vector<std::vector<std::string>> rows = {{"MODEL", "FAMILY", "TOTAL", "ACTIVE"}};
  for (const Json& memory : all.at("memories")) rows[0].push_back(text_of(memory, "memory"));
  for (const std::vector<std::string>& cells : released(all)) rows.push_back(cells);
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& cells : rows)
    for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
  std::string text;
  for (const auto& cells : rows) {
    for (size_t i = 0; i < cells.size(); ++i)
      text += cells[i] + (i + 1 < cells.size() ? std::string(widths[i] + 2 - cells[i].size(), ' ') : "\n");
  }
  return text;
}

void models(bool json, bool as_markdown) {
  char* text = nullptr;
  check(vkmoe_models_json(&text));
  const std::unique_ptr<char, void (*)(char*)> owner(text, vkmoe_string_free);
  const Json all = Json::parse(text);
  if (json) print_json(all);
  else print(as_markdown ? markdown(all) : table(all));
}

}  // namespace

void add_models(CLI::App& program) {
  CLI::App* app = program.add_subcommand("models", "Lists the models that run, and the largest type of each that fits a memory");
  auto json = std::make_shared<bool>(false), markdown = std::make_shared<bool>(false);
  CLI::Option* flag = app->add_flag("--json", *json, "print a JSON object");
  app->add_flag("--markdown", *markdown, "print docs/models.md")->excludes(flag);
  app->callback([json, markdown] { models(*json, *markdown); });
}
