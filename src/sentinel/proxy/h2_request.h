// The head of an HTTP/2 request as the HTTP/1.1 text that our own reader then judges: what may pass is decided there,
// once. Refused here is what could not be told in that text without becoming something else.
#pragma once

#include <string>
#include <string_view>

#include "sentinel/proxy/head.h"

namespace tb::sentinel::proxy {

class H2Request {
 public:
  enum class Taken { kYes, kMalformed, kTooMuch };
  /// A field, in the order in which they came, pseudo fields (":path") too.
  Taken take(std::string_view name, std::string_view value);
  /// A field of the trailers, which are dropped.
  Taken skip(std::size_t bytes) { return (bytes_ += bytes) > kMostBytes ? Taken::kTooMuch : Taken::kYes; }
  /// The whole head. `ends`: no body follows. One that was too large is a text that is too large.
  std::string text(bool ends) const;

  const std::string& method() const { return method_; }
  /// Whether the body goes as it is, for a length was told; else it is chunked.
  bool has_length() const { return has_length_; }
  bool is_too_large() const { return too_large_; }

 private:
  /// A client that sends far more than a head may have is not answered any more, only refused.
  static constexpr std::size_t kMostBytes = 2 * kMaxHeadBytes;
  Taken take_pseudo(std::string_view name, std::string_view value);

  std::string method_, target_, authority_, host_, fields_, cookie_;
  std::size_t bytes_ = 0;
  bool has_host_ = false, has_length_ = false, too_large_ = false;
};

}  // namespace tb::sentinel::proxy
