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
  // What was held has no border in it; the first new bytes may end one that began there.
  const std::size_t looked_at = held_.size() < 3 ? 0 : held_.size() - 3;
  for (const std::string_view piece : pieces) held_.append(piece);
  pieces.clear();
  std::size_t whole = whole_events(std::string_view(held_).substr(looked_at));
  if (whole > 0) {
    whole += looked_at;
    between_ = true;
  }
  if (last || held_.size() - whole > kMostHeldBytes) {
    if (whole < held_.size()) between_ = false;
    whole = held_.size();
  }
  if (whole == 0) return;
  joined.assign(held_, 0, whole);
  held_.erase(0, whole);
  if (held_.empty()) held_.shrink_to_fit();
  pieces.push_back(joined);
}

}  // namespace tb::sentinel::proxy
