// The headers that `inspect` reads out of a model: whatever the bytes, what is accepted lies within them.
#include "asset/gguf.h"
#include "asset/safetensors.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const tb::tbenc::MemorySource source({data, bytes});
  if (const auto header = tb::asset::read_safetensors(source, 0, bytes)) {
    std::uint64_t at = 0;
    for (const auto& tensor : header->tensors) {
      FUZZ_CHECK(tensor.begin == at && tensor.end >= at && tensor.end <= bytes);
      at = tensor.end;
    }
  }
  if (const auto header = tb::asset::read_gguf(source, 0, bytes)) {
    for (const auto& [key, value] : header->metadata) {
      FUZZ_CHECK(key.size() <= bytes);
      FUZZ_CHECK(tb::Json::parse(value.dump()).has_value());
    }
    for (const auto& tensor : header->tensors) FUZZ_CHECK(tensor.offset <= bytes);
  }
  return 0;
}
