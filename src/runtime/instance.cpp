#include "runtime/instance.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace vkmoe {
namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

struct MessageLog {
  std::mutex mutex;
  std::vector<std::string> messages;
};

// Never destroyed: the layer may still speak while static objects go.
MessageLog& message_log() {
  static MessageLog* log = new MessageLog;
  return *log;
}

VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data, void*) {
  std::string text = cat(data->pMessageIdName ? data->pMessageIdName : "", ": ", data->pMessage);
  std::fprintf(stderr, "vkmoe: validation: %s\n", text.c_str());
  std::lock_guard lock(message_log().mutex);
  message_log().messages.push_back(std::move(text));
  return VK_FALSE;
}

std::string validation_kind() {
  const char* value = std::getenv("VKMOE_VALIDATION");
  return value && std::strcmp(value, "0") != 0 ? value : "";
}

bool names_wanted() { return !validation_kind().empty(); }
bool validation_wanted() { return names_wanted() && validation_kind() != "names"; }

// Version of Vulkan that a layer knows; 0: there is no such layer.
uint32_t layer_version(const char* name) {
  auto layers =
      enumerate<VkLayerProperties>("vkEnumerateInstanceLayerProperties", vkEnumerateInstanceLayerProperties);
  for (const auto& layer : layers) {
    if (!std::strcmp(layer.layerName, name)) return layer.specVersion;
  }
  return 0;
}

bool has_instance_extension(const char* name) {
  auto extensions = enumerate<VkExtensionProperties>(
      "vkEnumerateInstanceExtensionProperties", [](uint32_t* count, VkExtensionProperties* items) {
        return vkEnumerateInstanceExtensionProperties(nullptr, count, items);
      });
  for (const auto& extension : extensions) {
    if (!std::strcmp(extension.extensionName, name)) return true;
  }
  return false;
}

}  // namespace

std::shared_ptr<Instance> Instance::get() {
  static std::mutex mutex;
  static std::weak_ptr<Instance> living;
  std::lock_guard lock(mutex);
  if (auto instance = living.lock()) return instance;
  std::shared_ptr<Instance> instance(new Instance);
  instance->create();
  living = instance;
  return instance;
}

void Instance::create() {
  if (volkInitialize() != VK_SUCCESS) {
    fail(VKMOE_ERROR_NO_DEVICE,
         "no Vulkan loader (libvulkan) was found; install the Vulkan driver of this machine's GPU");
  }
  if (volkGetInstanceVersion() < kLeastApi) {
    fail(VKMOE_ERROR_NO_DEVICE, "the Vulkan loader offers Vulkan ", version_text(volkGetInstanceVersion()),
         ", vkmoe needs 1.1");
  }
  VkApplicationInfo application = {VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.pApplicationName = application.pEngineName = "vkmoe";
  application.apiVersion = kLatestApi;  // the most that is used; devices may offer less
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.pApplicationInfo = &application;
  std::vector<const char*> extensions;
  if (has_instance_extension(VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME)) {
    extensions.push_back(VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME);
    info.flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
  }

  VkDebugUtilsMessengerCreateInfoEXT messenger = {VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  messenger.messageSeverity =
      VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
  messenger.pfnUserCallback = on_message;
  std::vector<VkValidationFeatureEnableEXT> enabled = {VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
  if (validation_kind() == "gpu") {
    enabled = {VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT, VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT};
  }
  VkValidationFeaturesEXT features = {VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT, &messenger, uint32_t(enabled.size()), enabled.data()};
  const char* layer = kValidationLayer;
  if (validation_wanted()) {
    if (!layer_version(layer)) {
      fail(VKMOE_ERROR_NOT_FOUND, "VKMOE_VALIDATION is set, but the layer ", layer, " is not installed");
    }
    info.enabledLayerCount = 1;
    info.ppEnabledLayerNames = &layer;
    info.pNext = &features;
  }
  names_ = names_wanted();
  if (names_) extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
  info.enabledExtensionCount = uint32_t(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();

  VkResult result = vkCreateInstance(&info, nullptr, &handle_);
  if (result == VK_ERROR_INCOMPATIBLE_DRIVER) {
    fail(VKMOE_ERROR_NO_DEVICE, "no Vulkan driver was found; install the Vulkan driver of this machine's GPU");
  }
  check(result, "vkCreateInstance");
  volkLoadInstance(handle_);
  if (validation_wanted()) {
    check(vkCreateDebugUtilsMessengerEXT(handle_, &messenger, nullptr, &messenger_),
          "vkCreateDebugUtilsMessengerEXT");
  }
}

Instance::~Instance() {
  if (messenger_) vkDestroyDebugUtilsMessengerEXT(handle_, messenger_, nullptr);
  if (handle_) vkDestroyInstance(handle_, nullptr);
}

std::vector<VkPhysicalDevice> Instance::physical_devices() const {
  uint32_t count = 0;
  // A loader without any working driver may report an error here and not in vkCreateInstance.
  VkResult result = vkEnumeratePhysicalDevices(handle_, &count, nullptr);
  if (result == VK_ERROR_INITIALIZATION_FAILED) return {};
  return enumerate<VkPhysicalDevice>("vkEnumeratePhysicalDevices", [&](uint32_t* n, VkPhysicalDevice* items) {
    return vkEnumeratePhysicalDevices(handle_, n, items);
  });
}

bool validation_knows(uint32_t version) { return !validation_wanted() || layer_version(kValidationLayer) >= version; }

std::vector<std::string> all_validation_messages() {
  std::lock_guard lock(message_log().mutex);
  return message_log().messages;
}

}  // namespace vkmoe
