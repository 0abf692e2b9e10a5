// Between the project's Json and libjose's jansson values: by text, so that one strict reader decides what is JSON.
#pragma once

#include <jansson.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"

namespace tb::jose {

struct JanssonFree {
  void operator()(json_t* value) const { json_decref(value); }
};
using Jansson = std::unique_ptr<json_t, JanssonFree>;

/// Makes jansson wipe what it frees: private keys and content keys pass through it. Once, before the first use.
void wipe_jansson_memory();

/// Throws "internal" if jansson refuses what Json holds.
Jansson to_jansson(const Json& json);
/// A string member, or "internal".
std::string text_member(const json_t* object, const char* name);

}  // namespace tb::jose
