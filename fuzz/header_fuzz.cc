// A header that is accepted encodes to the same 32 bytes again.
#include <algorithm>

#include "fuzz.h"
#include "tbenc/header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::tbenc;
  const tb::ByteView input(data, bytes);
  const auto header = parse_header(input);
  if (!header) {
    FUZZ_CHECK(header.error().reason == "header_malformed");
    return 0;
  }
  FUZZ_CHECK(header->chunk_bytes >= 1 && header->chunk_bytes <= kMaxChunkBytes);
  FUZZ_CHECK(std::ranges::equal(encode_header(*header), input.first(kHeaderBytes)));
  return 0;
}
