#include "azure/shared_key.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "azure/sas.h"
#include "base/bytes.h"
#include "base/crypto.h"

namespace tb::azure {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

}  // namespace

std::string query_text(const ServiceRequest& request) {
  std::string out;
  for (const auto& [name, value] : request.query) {
    out += fmt::format("{}{}={}", out.empty() ? '?' : '&', name, escaped(value));
  }
  return out;
}

std::string shared_key_string_to_sign(const std::string& account, const ServiceRequest& request) {
  std::string out = request.method + "\n";
  for (const char* name : {"Content-Encoding", "Content-Language"})
    out += fmt::format("{}\n", request.headers.get(name));
  out += request.body_bytes == 0 ? "\n" : fmt::format("{}\n", request.body_bytes);
  // The date is empty because x-ms-date is sent.
  for (const char* name : {"Content-MD5", "Content-Type", "", "If-Modified-Since", "If-Match", "If-None-Match",
                           "If-Unmodified-Since", "Range"}) {
    out += fmt::format("{}\n", *name == '\0' ? std::string_view() : request.headers.get(name));
  }
  std::map<std::string, std::string> own;
  for (const auto& [name, value] : request.headers.entries()) {
    if (const std::string key = lower(name); key.starts_with("x-ms-")) own[key] = value;
  }
  for (const auto& [name, value] : own) out += fmt::format("{}:{}\n", name, value);
  out += fmt::format("/{}{}", account, request.path);
  auto query = request.query;
  std::ranges::sort(query);
  for (const auto& [name, value] : query) out += fmt::format("\n{}:{}", name, value);
  return out;
}

SecretString shared_key(const std::string& account, const ServiceRequest& request, const SecretString& account_key) {
  const Digest mac = hmac_sha256(as_bytes(account_key.reveal()), as_bytes(shared_key_string_to_sign(account, request)));
  return SecretString(fmt::format("SharedKey {}:{}", account, to_base64(mac)));
}

}  // namespace tb::azure
