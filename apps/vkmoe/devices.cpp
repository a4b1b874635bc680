// vkmoe devices: every Vulkan device and what vkmoe makes of it.
#include "commands.h"
#include "common.h"

namespace {

using Json = nlohmann::ordered_json;

// "  limits: a 1, b 2" in lines of at most 110 columns.
void add_group(std::string& text, const std::string& key, const Json& group) {
  std::string line = "   " + key + ":";
  for (const auto& [name, value] : group.items()) {
    std::string item = group.is_array() ? "" : name + " ";
    item += value.is_string() ? value.get<std::string>() : value.dump();
    if (line.size() + item.size() > 110) {
      text += line + "\n";
      line = "     ";
    }
    line += " " + item + ",";
  }
  if (line.back() == ',') line.pop_back();
  text += line + "\n";
}

void devices(bool json) {
  char* text = nullptr;
  check(vkmoe_devices_json(&text));
  const std::unique_ptr<char, void (*)(char*)> owner(text, vkmoe_string_free);
  const Json list = Json::parse(text);
  if (list.empty())
    throw Failure("no Vulkan driver or device was found; install the Vulkan driver of this machine's GPU");
  if (json) return print_json(list);
  std::string out;
  for (const Json& device : list) {
    out += device.at("index").dump() + "  " + device.at("name").get<std::string>() + "\n";
    Json scalars = Json::object();
    for (const auto& [key, value] : device.items()) {
      if (key != "index" && key != "name" && !value.is_structured()) scalars[key] = value;
    }
    add_group(out, "device", scalars);
    for (const auto& [key, value] : device.items()) {
      if (value.is_structured()) add_group(out, key, value);
    }
  }
  print(out);
}

}  // namespace

void add_devices(CLI::App& program) {
  CLI::App* app = program.add_subcommand("devices", "Lists every Vulkan device, best first");
  auto json = std::make_shared<bool>(false);
  app->add_flag("--json", *json, "print a JSON array");
  app->callback([json] { devices(*json); });
}
