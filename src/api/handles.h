// What the opaque handles of vkmoe.h hold, and how errors cross the C boundary.
#pragma once
#include <memory>
#include <string>

#include "loader/tokenizer.h"
#include "moe/model.h"
#include "moe/session.h"

struct vkmoe_device {
  std::shared_ptr<vkmoe::Device> device;
};

struct vkmoe_model {
  std::shared_ptr<vkmoe::Model> model;               // on a device, or
  std::shared_ptr<const vkmoe::ModelSpec> reference;  // on the CPU reference
  std::unique_ptr<vkmoe::Tokenizer> tokenizer;       // nullptr when the model has none; then tokenizer_error says why
  std::string tokenizer_error;
  const vkmoe::Hyper& hyper() const { return model ? model->hyper : reference->hyper; }
};

struct vkmoe_session {
  std::unique_ptr<vkmoe::Session> session;
  const vkmoe_model* model;
};

namespace vkmoe {

void set_last_error(const std::string& message);
char* new_string(const std::string& text);
std::string models_json();
std::string inspect_json(const std::string& path, uint32_t context_tokens);

// Runs body and turns exceptions into a status.
template <class Body>
vkmoe_status guard(Body&& body) {
  try {
    body();
    return VKMOE_OK;
  } catch (const Error& error) {
    set_last_error(error.what());
    return error.status;
  } catch (const std::bad_alloc&) {
    set_last_error("host memory does not suffice");
    return VKMOE_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    set_last_error(cat("unexpected: ", error.what()));
    return VKMOE_ERROR_INTERNAL;
  }
}

template <class Pointer>
void need(const Pointer* pointer, const char* name) {
  if (!pointer) fail(VKMOE_ERROR_INVALID_ARGUMENT, name, " is NULL");
}

}  // namespace vkmoe
