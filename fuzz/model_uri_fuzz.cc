// Whatever is accepted as the name of a model is exactly what its parts give again.
#include "base/error.h"
#include "fuzz.h"
#include "sentinel/model_uri.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const tb::sentinel::ModelUri uri = tb::sentinel::parse_model_uri(text);
    if (tb::sentinel::to_text(uri) != text) std::abort();
  } catch (const tb::Error&) {
  }
  return 0;
}
