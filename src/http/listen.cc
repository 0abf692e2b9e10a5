#include "http/listen.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>

#include "http/address.h"

namespace tb::http {

std::string ListenAddress::to_text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Result<ListenAddress> parse_listen_address(std::string_view text) {
  const auto bad = [&] { return fail("bad_address", fmt::format("\"{}\" is no address to listen on", text)); };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  ListenAddress out;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size()) return bad();
  const bool bracketed = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed != (host.find(':') != std::string_view::npos)) return bad();
  out.host = host.empty() ? "0.0.0.0" : host == "localhost" ? "127.0.0.1" : std::string(host);
  if (!is_address_literal(out.host)) return bad();
  out.is_loopback = address_kind(out.host) == AddressKind::kLoopback;
  return out;
}

Result<ListenAddress> check_listen_address(std::string_view text, std::string_view setting, bool has_tls,
                                           bool allow_plain) {
  auto parsed = parse_listen_address(text);
  if (!parsed) return fail(parsed.error().reason, fmt::format("{}: {}", setting, parsed.error().message));
  if (!has_tls && !allow_plain && !parsed->is_loopback) {
    return fail("plain_http_refused", fmt::format("{}: plain HTTP on {} could be read by others", setting, text));
  }
  return parsed;
}

}  // namespace tb::http
