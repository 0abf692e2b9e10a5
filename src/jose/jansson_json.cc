// Text is the bridge; jansson frees into wiped memory.
#include "jose/jansson_json.h"

#include <malloc.h>

#include <cstdlib>
#include <mutex>

#include "base/secret.h"

namespace tb::jose {
namespace {

void wiping_free(void* p) {
  if (p == nullptr) return;
  wipe(p, malloc_usable_size(p));
  std::free(p);
}

}  // namespace

void wipe_jansson_memory() {
  static std::once_flag once;
  std::call_once(once, [] { json_set_alloc_funcs(std::malloc, wiping_free); });
}

Jansson to_jansson(const Json& json) {
  wipe_jansson_memory();
  const SecretString text(json.dump());
  json_error_t error;
  Jansson out(json_loadb(text.reveal().data(), text.reveal().size(), 0, &error));
  if (!out) throw Error("internal", "jansson refused a JSON value");
  return out;
}

std::string text_member(const json_t* object, const char* name) {
  const char* text = json_string_value(json_object_get(object, name));
  if (text == nullptr) throw Error("internal", std::string("libjose left out ") + name);
  return text;
}

}  // namespace tb::jose
