// A chunked body decodes to the same bytes and the same end, in whatever pieces it comes.
#include <string>

#include "fuzz.h"
#include "sentinel/proxy/chunked.h"

namespace {

using tb::sentinel::proxy::ChunkedDecoder;
using Kind = ChunkedDecoder::Kind;

struct Decoded {
  Kind ended = Kind::kNeedMore;
  std::string body;
  std::size_t consumed = 0;
  bool operator==(const Decoded&) const = default;
};

Decoded decode(std::string_view input, std::size_t piece_bytes) {
  ChunkedDecoder decoder;
  Decoded out;
  std::size_t given = 0;
  while (true) {
    const auto step = decoder.next(input.substr(out.consumed, given - out.consumed));
    FUZZ_CHECK(step.consumed <= given - out.consumed);
    out.consumed += step.consumed;
    out.body += step.data;
    if (step.kind == Kind::kEnd || step.kind == Kind::kMalformed) {
      out.ended = step.kind;
      if (step.kind == Kind::kMalformed) out.consumed = 0;
      return out;
    }
    if (step.kind == Kind::kData) {
      FUZZ_CHECK(!step.data.empty());
      continue;
    }
    if (given == input.size()) return out;
    given = std::min(input.size(), given + piece_bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto input = std::string_view(reinterpret_cast<const char*>(data), bytes);
  const Decoded whole = decode(input, std::max<std::size_t>(1, bytes));
  FUZZ_CHECK(whole.body.size() <= bytes);
  FUZZ_CHECK(decode(input, 1) == whole);
  FUZZ_CHECK(decode(input, 3) == whole);
  return 0;
}
