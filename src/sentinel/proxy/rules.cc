#include "sentinel/proxy/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace tb::sentinel::proxy {
namespace {

constexpr Refusal kNotAllowed{403, "path_not_allowed", "this path is not served here"};

/// Whether the raw path has nothing that two parsers could read differently.
bool is_unambiguous(std::string_view path) {
  if (!path.starts_with('/')) return false;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '%' || c == '\\' || c == ';' || c == '#') return false;
  }
  if (path.find("//") != std::string_view::npos) return false;
  for (std::string_view rest = path.substr(1);;) {
    const std::size_t slash = rest.find('/');
    const std::string_view segment = rest.substr(0, slash);
    if (segment == "." || segment == "..") return false;
    if (slash == std::string_view::npos) return true;
    rest.remove_prefix(slash + 1);
  }
}

bool is_query(std::string_view query) {
  return std::ranges::all_of(query, [](char c) { return c > 0x20 && c < 0x7f && c != '#' && c != '\\'; });
}

constexpr NameSet kHopByHop(std::array<std::string_view, 9>{"connection", "keep-alive", "proxy-authenticate", "te",
                                                            "trailer", "transfer-encoding", "upgrade",
                                                            "proxy-authorization", "proxy-connection"});

/// Written by us or not passed on at all. A rule, not an error: clients and their proxies send these in good faith.
constexpr NameSet kReplaced(std::array<std::string_view, 17>{
    "content-length", "host", "expect", "authorization", "x-api-key", "x-forwarded-for", "forwarded", "x-real-ip",
    "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-prefix", "x-original-url",
    "x-rewrite-url", "x-request-id", "cookie", "x-http-method-override"});

/// Of answers: what is ours to say, or tells which runtime is behind and in which version.
constexpr NameSet kOfTheRuntime(std::array<std::string_view, 7>{"x-request-id", "server", "x-powered-by", "via",
                                                                "x-aspnet-version", "x-runtime", "x-process-time"});

bool is_among(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::any_of(names, [&](std::string_view other) { return equal_fold(name, other); });
}

/// All of it with one look at the memory that there is.
void append(std::string& out, std::initializer_list<std::string_view> parts) {
  const std::size_t before = out.size();
  std::size_t bytes = before;
  for (const std::string_view part : parts) bytes += part.size();
  out.resize_and_overwrite(bytes, [&](char* text, std::size_t) {
    char* at = text + before;
    for (const std::string_view part : parts) at = std::copy(part.begin(), part.end(), at);
    return bytes;
  });
}

void append_field(std::string& out, const Field& field) {
  append(out, {field.name, ": ", field.value, "\r\n"});
}

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> text;
  out.append(text.data(), std::to_chars(text.data(), text.data() + text.size(), number).ptr);
}

void append_length(std::string& out, std::uint64_t length) {
  out.append("Content-Length: ");
  append_number(out, length);
  out.append("\r\n");
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 402:
      return "insufficient_quota";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

}  // namespace

AllowList::AllowList() : routes_(all_routes().begin(), all_routes().end()) {}

void AllowList::narrow(const std::vector<std::string>& patterns) {
  std::erase_if(routes_,
                [&](const Route& route) { return std::ranges::find(patterns, route.pattern) == patterns.end(); });
}

std::expected<std::string, Refusal> AllowList::match(std::string_view method, std::string_view target) const {
  const std::size_t mark = target.find('?');
  const std::string_view path = target.substr(0, mark);
  const std::string_view query = mark == std::string_view::npos ? std::string_view() : target.substr(mark);
  if (!is_unambiguous(path) || !is_query(query)) return std::unexpected(kNotAllowed);
  bool other_method = false;
  for (const Route& route : routes_) {
    if (!matches_pattern(route.pattern, path)) continue;
    if (route.method != method) {
      other_method = true;
      continue;
    }
    const bool fixed = route.pattern.find('{') == std::string_view::npos;
    return std::string(fixed ? route.pattern : path) + std::string(query);
  }
  if (other_method)
    return std::unexpected(Refusal{405, "method_not_allowed", "this method is not served on this path"});
  return std::unexpected(kNotAllowed);
}

std::string upstream_head(const RequestHead& head, std::string_view target, const Peer& peer,
                          std::string_view request_id, std::string_view bearer) {
  std::string out;
  append_upstream_head(out, head, target, peer, request_id, head.framing, head.length, bearer);
  return out;
}

void append_upstream_head(std::string& out, const RequestHead& head, std::string_view target, const Peer& peer,
                          std::string_view request_id, Framing framing, std::uint64_t length, std::string_view bearer) {
  const Field* host = find_field(head.fields, "host");
  const std::string_view host_value =
      host != nullptr && !host->value.empty() ? std::string_view(host->value) : "localhost";
  append(out, {head.method, " ", target, " HTTP/1.1\r\nHost: ", host_value, "\r\n"});
  const std::vector<std::string_view> named = list_members(head.fields, "connection");
  for (const Field& field : head.fields) {
    if (kHopByHop.contains(field.name) || kReplaced.contains(field.name)) continue;
    if (field.name.find('_') != std::string::npos || is_among(field.name, named)) continue;
    append_field(out, field);
  }
  append(out, {"X-Forwarded-For: ", peer.address, "\r\nX-Real-IP: ", peer.address,
               "\r\nX-Forwarded-Proto: ", peer.tls ? "https" : "http", "\r\nX-Forwarded-Host: ", host_value,
               "\r\nX-Request-Id: ", request_id, "\r\n"});
  if (!bearer.empty()) append(out, {"Authorization: Bearer ", bearer, "\r\n"});
  if (framing == Framing::kLength) append_length(out, length);
  if (framing == Framing::kChunked) out.append("Transfer-Encoding: chunked\r\n");
  out.append("\r\n");
}

std::string client_head(const ResponseHead& head, std::string_view request_id, int client_minor, bool close) {
  std::string out;
  append_client_head(out, head, request_id, client_minor, close);
  return out;
}

void append_client_head(std::string& out, const ResponseHead& head, std::string_view request_id, int client_minor,
                        bool close) {
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<std::uint64_t>(head.status));
  append(out, {" ", reason_phrase(head.status), "\r\n"});
  const std::vector<std::string_view> named = list_members(head.fields, "connection");
  for (const Field& field : head.fields) {
    if (kHopByHop.contains(field.name) || kOfTheRuntime.contains(field.name)) continue;
    const bool not_as_it_came = head.framing != Framing::kNone || head.status == 204;
    if (not_as_it_came && equal_fold(field.name, "content-length")) continue;
    if (is_among(field.name, named)) continue;
    append_field(out, field);
  }
  append(out, {"X-Request-Id: ", request_id, "\r\n"});
  if (head.framing == Framing::kLength) append_length(out, head.length);
  const bool chunked = head.framing == Framing::kChunked || head.framing == Framing::kUntilClose;
  if (chunked && client_minor == 1) out.append("Transfer-Encoding: chunked\r\n");
  if (close) {
    out.append("Connection: close\r\n");
  } else if (client_minor == 0) {
    out.append("Connection: keep-alive\r\n");
  }
  out.append("\r\n");
}

std::string_view presented_key(const RequestHead& head) {
  std::string_view bearer;
  if (const Field* field = find_field(head.fields, "authorization")) {
    const std::string_view value = field->value;
    if (value.size() > 7 && equal_fold(value.substr(0, 7), "bearer ")) bearer = value.substr(7);
    if (bearer.empty()) return {};
  }
  const Field* own = find_field(head.fields, "x-api-key");
  if (own == nullptr) return bearer;
  if (!bearer.empty() && bearer != own->value) return {};
  return own->value;
}

bool wants_websocket(const RequestHead& head) {
  return std::ranges::any_of(list_members(head.fields, "upgrade"),
                             [](std::string_view member) { return equal_fold(member, "websocket"); });
}

std::string error_body(const Refusal& refusal) {
  return fmt::format(R"({{"error":{{"message":"{}","type":"{}","code":"{}"}}}})", refusal.message,
                     error_type(refusal.status), refusal.code);
}

std::string error_answer(const Refusal& refusal, std::string_view request_id, bool close, bool head_only,
                         const Fields& more) {
  const std::string body = error_body(refusal);
  std::string out =
      fmt::format("HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-Request-Id: {}\r\n",
                  refusal.status, reason_phrase(refusal.status), body.size(), request_id);
  if (refusal.status == 401) out.append("WWW-Authenticate: Bearer\r\n");
  if (refusal.retry_after_seconds > 0) out.append(fmt::format("Retry-After: {}\r\n", refusal.retry_after_seconds));
  for (const Field& field : more) out.append(field.name).append(": ").append(field.value).append("\r\n");
  if (close) out.append("Connection: close\r\n");
  out.append("\r\n");
  if (!head_only) out.append(body);
  return out;
}

}  // namespace tb::sentinel::proxy
