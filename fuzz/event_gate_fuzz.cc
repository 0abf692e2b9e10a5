// Streams of server-sent events, in pieces of any size: everything passes, in order, and whenever the gate says that a
// stream may be ended, what has passed ends with an event.
#include "fuzz.h"
#include "sentinel/proxy/body.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::sentinel::proxy;
  if (bytes < 2) return 0;
  const std::size_t piece_bytes = 1 + data[0] % 32;
  const std::size_t pieces_at_once = 1 + data[1] % 4;
  const auto text = std::string_view(reinterpret_cast<const char*>(data), bytes).substr(2);
  EventGate gate;
  gate.begin(true);
  std::string passed;
  std::string joined;
  for (std::size_t at = 0; at < text.size();) {
    std::vector<std::string_view> pieces;
    for (std::size_t i = 0; i < pieces_at_once && at < text.size(); ++i, at += piece_bytes) {
      pieces.push_back(text.substr(at, piece_bytes));
    }
    const bool last = at >= text.size();
    gate.pass(pieces, last, joined);
    for (const std::string_view piece : pieces) passed.append(piece);
    FUZZ_CHECK(passed.size() <= text.size());
    const std::string_view end =
        std::string_view(passed).substr(passed.size() - std::min<std::size_t>(passed.size(), 3));
    FUZZ_CHECK(!gate.is_between() || whole_events(end) == end.size());
    FUZZ_CHECK(gate.own_bytes() <= 2 * (EventGate::kMostHeldBytes + 4096));
  }
  FUZZ_CHECK(passed == text);
  return 0;
}
