// A body as it comes out of what was read: its pieces by the framing of its head, the filters' transforms in a row, and
// where a stream of server-sent events may be cut.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/proxy/chunked.h"
#include "sentinel/proxy/filter.h"
#include "sentinel/proxy/head.h"

namespace tb::sentinel::proxy {

/// Finds a body's pieces in what was read; what follows the body is not looked at.
class BodyCursor {
 public:
  BodyCursor() = default;
  BodyCursor(Framing framing, std::uint64_t length) : framing_(framing), left_(length) {}

  using Kind = ChunkedDecoder::Kind;
  using Step = ChunkedDecoder::Step;
  /// As of ChunkedDecoder::next(); kEnd as often as it is asked for.
  Step next(std::string_view input) {
    switch (framing_) {
      case Framing::kChunked: {
        if (ended_) return {Kind::kEnd, 0, {}};
        const Step step = decoder_.next(input);
        ended_ = step.kind == Kind::kEnd;
        return step;
      }
      case Framing::kLength: {
        if (left_ == 0) return {Kind::kEnd, 0, {}};
        const std::string_view data = input.substr(0, left_);
        left_ -= data.size();
        return {data.empty() ? Kind::kNeedMore : Kind::kData, data.size(), data};
      }
      case Framing::kUntilClose:
        return {input.empty() ? Kind::kNeedMore : Kind::kData, input.size(), input};
      case Framing::kNone:
        break;
    }
    return {Kind::kEnd, 0, {}};
  }
  /// Whether the peer's end of its side is the body's end.
  bool ends_with_connection() const { return framing_ == Framing::kUntilClose; }

 private:
  Framing framing_ = Framing::kNone;
  std::uint64_t left_ = 0;
  bool ended_ = false;
  ChunkedDecoder decoder_;
};

/// Body transforms, each fed with what the one before gave. One that ends here ends all behind it.
class TransformChain {
 public:
  void clear() { chain_.clear(); }
  void add(BodyTransform* transform) { chain_.push_back(transform); }
  bool empty() const { return chain_.empty(); }
  /// Appends to `out` what comes out at the end.
  std::optional<Refusal> feed(std::string_view in, bool last, std::string& out);
  /// Whether the body's proper end is here.
  bool ends_here() const { return ends_here_; }
  void begin() { ends_here_ = false; }

 private:
  std::vector<BodyTransform*> chain_;
  std::string between_[2];
  bool ends_here_ = false;
};

/// How many bytes of `text` are whole server-sent events: up to behind its last blank line.
std::size_t whole_events(std::string_view text);

/// Lets whole events of a stream pass and holds back the beginning of the next, so that a stream can be ended between
/// two events at any moment. An event that is longer than the bound passes as it comes.
class EventGate {
 public:
  static constexpr std::size_t kMostHeldBytes = 64 * 1024;
  void begin(bool on) { on_ = on, held_.clear(), between_ = true; }
  bool is_on() const { return on_; }
  /// What may leave of `pieces`, in the order in which they came: `pieces` itself where it ends with an event, else one
  /// piece that lies in `joined`. `last`: nothing comes after these.
  void pass(std::vector<std::string_view>& pieces, bool last, std::string& joined);
  /// Whether what was let through ends between two events.
  bool is_between() const { return on_ && between_; }
  std::size_t own_bytes() const { return held_.capacity(); }

 private:
  bool on_ = false, between_ = true;
  std::string held_;
};

}  // namespace tb::sentinel::proxy
