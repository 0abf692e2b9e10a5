// Cuts a stream of server-sent events (WHATWG HTML, 9.2) into whole events, as they come: what a client may act upon is
// never held longer than the event that it belongs to, and comments not even so long.
#pragma once

#include <string>
#include <string_view>

namespace tb::meter {

class SseCutter {
 public:
  static constexpr std::size_t kMaxEventBytes = 64 * 1024;

  /// What is cut off: a whole event with the blank line that ends it, or bytes that pass unread (comments, the pieces
  /// of an event that is too long).
  class Taker {
   public:
    virtual ~Taker() = default;
    virtual void on_event(std::string_view bytes) = 0;
    virtual void on_comment(std::string_view bytes) = 0;
    /// `end`: the event has ended with these.
    virtual void on_overlong(std::string_view bytes, bool end) = 0;
  };

  explicit SseCutter(Taker& taker) : taker_(taker) {}
  /// `last`: what is left is an event that lost its end.
  void feed(std::string_view in, bool last);

 private:
  void end_line();
  void hand_over();

  Taker& taker_;
  std::string held_;
  std::size_t line_bytes_ = 0;  ///< of the line under way
  bool after_cr_ = false;       ///< the line has ended, if no LF follows
  bool overlong_ = false, only_comments_ = true;
  bool first_byte_of_line_is_colon_ = false;
};

/// The `data` of one event: its lines joined. `single` is set to the offset of the data in `event` where there is
/// exactly one line of it, for those who would change it; else to npos.
std::string_view event_data(std::string_view event, std::string& joined, std::size_t& single);

}  // namespace tb::meter
