#include "sentinel/proxy/body.h"

#include <algorithm>

#include "base/bytes.h"

namespace tb::sentinel::proxy {

std::optional<Refusal> TransformChain::feed(std::string_view in, bool last, std::string& out) {
  bool is_last = last;
  for (std::size_t i = 0; i < chain_.size(); ++i) {
    const bool end_of_chain = i + 1 == chain_.size();
    std::string& next = end_of_chain ? out : between_[i % 2];
    if (!end_of_chain) next.clear();
    if (auto refusal = chain_[i]->feed(as_bytes(in), is_last, next)) return refusal;
    if (chain_[i]->ends_here()) is_last = ends_here_ = true;
    in = next;
  }
  return std::nullopt;
}

std::size_t whole_events(std::string_view text) {
  std::size_t found = 0;
  for (const std::string_view border : {"\n\n", "\n\r\n", "\r\r"}) {
    if (const std::size_t at = text.rfind(border); at != std::string_view::npos)
      found = std::max(found, at + border.size());
  }
  return found;
}

void EventGate::pass(std::vector<std::string_view>& pieces, bool last, std::string& joined) {
  if (!on_ || (pieces.empty() && !last)) return;
  if (held_.empty() && !pieces.empty() && whole_events(pieces.back()) == pieces.back().size()) {
    between_ = true;
    return;
  }
  joined.assign(held_);
  for (const std::string_view piece : pieces) joined.append(piece);
  pieces.clear();
  std::size_t whole = whole_events(joined);
  if (whole > 0) between_ = true;
  if (last || joined.size() - whole > kMostHeldBytes) {
    if (whole < joined.size()) between_ = false;
    whole = joined.size();
  }
  held_.assign(joined, whole);
  if (held_.empty()) held_.shrink_to_fit();
  joined.resize(whole);
  if (!joined.empty()) pieces.push_back(joined);
}

}  // namespace tb::sentinel::proxy
