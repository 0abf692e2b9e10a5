// Where a server listens: parsing of "host:port" and the rule that plain HTTP stays on loopback.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tb::http {

struct ListenAddress {
  std::string host;  ///< an IP address in text form, without brackets
  std::uint16_t port = 0;
  bool is_loopback = false;
  std::string to_text() const;  ///< "127.0.0.1:8080", "[::1]:8080"
};

/// "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0", "localhost:8080" (127.0.0.1), ":8080" (0.0.0.0); else "bad_address".
Result<ListenAddress> parse_listen_address(std::string_view text);

/// parse_listen_address, and "plain_http_refused" for plain HTTP on anything but loopback unless `allow_plain`.
/// `setting` names the option in the message ("TB_CP_ADDR").
Result<ListenAddress> check_listen_address(std::string_view text, std::string_view setting, bool has_tls,
                                           bool allow_plain = false);

}  // namespace tb::http
