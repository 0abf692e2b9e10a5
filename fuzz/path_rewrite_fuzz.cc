// Text comes out the same in whatever pieces it goes in, nothing that is to be hidden is left to be found, and text
// without a slash or an escape is not touched.
#include <string>

#include "fuzz.h"
#include "sentinel/proxy/path_rewrite.h"

namespace {

using tb::sentinel::proxy::HiddenPaths;
using tb::sentinel::proxy::PathRewrite;

std::string rewritten(const HiddenPaths& hidden, std::string_view text, std::size_t piece_bytes) {
  PathRewrite rewrite(hidden);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += piece_bytes) {
    FUZZ_CHECK(!rewrite.feed(tb::as_bytes(text.substr(at, piece_bytes)), false, out));
  }
  FUZZ_CHECK(!rewrite.feed({}, true, out));
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  static const HiddenPaths hidden({"/m/a", "/m", "/m/a/b"}, "name");
  const auto text = std::string_view(reinterpret_cast<const char*>(data), bytes);
  const std::string whole = rewritten(hidden, text, std::max<std::size_t>(1, bytes));
  FUZZ_CHECK(rewritten(hidden, text, 1) == whole);
  FUZZ_CHECK(rewritten(hidden, text, 3) == whole);
  FUZZ_CHECK(rewritten(hidden, whole, 5) == whole);
  if (text.find_first_of("/\\") == std::string_view::npos) FUZZ_CHECK(whole == text);
  return 0;
}
