#include "http/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace tb::http {

namespace {

constexpr std::size_t kMaxQueryParameters = 64;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (lower(c) >= 'a' && lower(c) <= 'f') return lower(c) - 'a' + 10;
  return -1;
}

/// Errors whose message may name a file of the server or tell its state: the log has it, the client need not.
bool is_private(const Error& error) {
  constexpr std::array<std::string_view, 6> kOfFiles{"file_mode_unsafe", "file_not_found",    "file_too_large",
                                                     "output_exists",    "permission_denied", "disk_full"};
  return error.code() == Code::kInternal || error.http_status() >= 500 ||
         std::ranges::find(kOfFiles, std::string_view(error.reason)) != kOfFiles.end();
}

Result<std::string> percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return fail("bad_query", "broken percent escape in the query");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

void Headers::add(std::string_view name, std::string_view value) {
  entries_.emplace_back(name, value);
}

void Headers::set(std::string_view name, std::string_view value) {
  erase(name);
  add(name, value);
}

void Headers::erase(std::string_view name) {
  std::erase_if(entries_, [&](const Entry& entry) { return equal_ignoring_case(entry.first, name); });
}

const std::string* Headers::find(std::string_view name) const {
  const auto it =
      std::ranges::find_if(entries_, [&](const Entry& entry) { return equal_ignoring_case(entry.first, name); });
  return it == entries_.end() ? nullptr : &it->second;
}

std::string_view Headers::get(std::string_view name) const {
  const std::string* value = find(name);
  return value ? std::string_view(*value) : std::string_view();
}

std::size_t Headers::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(entries_, [&](const Entry& entry) { return equal_ignoring_case(entry.first, name); }));
}

Result<Query> Query::parse(std::string_view text) {
  Query query;
  if (text.empty()) return query;
  if (!std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; })) {
    return fail("bad_query", "the query holds a byte that must be percent-encoded");
  }
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('&', at), text.size());
    const std::string_view part = text.substr(at, end - at);
    const std::size_t equals = std::min(part.find('='), part.size());
    std::string name = TRY(percent_decoded(part.substr(0, equals)));
    std::string value = TRY(percent_decoded(equals < part.size() ? part.substr(equals + 1) : std::string_view()));
    if (name.empty()) return fail("bad_query", "the query holds a parameter without a name");
    if (query.entries_.size() == kMaxQueryParameters) return fail("bad_query", "the query holds too many parameters");
    query.entries_.emplace_back(std::move(name), std::move(value));
    at = end + 1;
  }
  return query;
}

std::size_t Query::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::ranges::count(entries_, name, [](const auto& e) { return std::string_view(e.first); }));
}

std::optional<std::string> Query::one(std::string_view name) const {
  if (count(name) > 1) throw Error("bad_query", fmt::format("the query parameter {} stands there twice", name));
  for (const auto& [key, value] : entries_) {
    if (key == name) return value;
  }
  return std::nullopt;
}

void Query::only(std::span<const std::string_view> known) const {
  for (const auto& [name, value] : entries_) {
    if (std::ranges::find(known, std::string_view(name)) == known.end()) {
      throw Error("bad_query", "unknown query parameter")
          .with_hint("known are: " + fmt::format("{}", fmt::join(known, ", ")));
    }
    if (count(name) > 1) throw Error("bad_query", fmt::format("the query parameter {} stands there twice", name));
  }
}

const std::string& Request::param(std::string_view name) const {
  for (const auto& [key, value] : params) {
    if (key == name) return value;
  }
  throw Error("internal", fmt::format("the route has no parameter {}", name));
}

std::string_view Request::bearer_token() const {
  constexpr std::string_view kScheme = "Bearer ";
  if (headers.count("Authorization") != 1) return {};
  const std::string_view value = headers.get("Authorization");
  if (!equal_ignoring_case(value.substr(0, kScheme.size()), kScheme)) return {};
  return value.substr(kScheme.size());
}

Response text(int status, std::string body, std::string_view content_type) {
  Response response;
  response.status = status;
  response.headers.add("Content-Type", content_type);
  response.body = std::move(body);
  return response;
}

Response json(int status, const Json& body) {
  return text(status, body.dump(), "application/json");
}

Response problem(const Error& error) {
  const int status = error.http_status();
  const bool ours = error.code() == Code::kInternal;
  const bool told = !is_private(error) || error.reason == "server_busy";
  Json::Object body{{"type", "about:blank"},
                    {"title", std::string(status_phrase(status))},
                    {"status", status},
                    {"detail", told ? error.message : std::string("the server could not do this; its log says why")},
                    {"code", ours ? std::string("internal") : error.reason}};
  if (const std::string hint = error.hint(); told && !hint.empty()) body.emplace_back("hint", hint);
  Response response = text(status, Json(std::move(body)).dump(), "application/problem+json");
  if (status == 401) response.headers.add("WWW-Authenticate", "Bearer");
  if (error.retryable() && (status == 429 || status == 503)) response.headers.add("Retry-After", "1");
  return response;
}

std::string_view status_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 304:
      return "Not Modified";
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
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 422:
      return "Unprocessable Content";
    case 428:
      return "Precondition Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    default:
      return "";
  }
}

}  // namespace tb::http
