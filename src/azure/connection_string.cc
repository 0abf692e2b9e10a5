#include "azure/connection_string.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "base/clock.h"
#include "http/address.h"
#include "http/message.h"

namespace tb::azure {
namespace {

constexpr std::size_t kMaxSasBytes = 4096;

bool is_host_suffix(std::string_view text) {
  return !text.empty() && text.size() <= 200 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

std::string_view without_slashes(std::string_view url) {
  while (url.ends_with('/')) url.remove_suffix(1);
  return url;
}

/// Parts by name; the values of some are secret and go no further than this file's results.
using Parts = std::map<std::string, std::string_view, std::less<>>;

Result<Parts> split(std::string_view text) {
  Parts parts;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    if (equals == 0 || equals == std::string_view::npos)
      return fail("config_invalid", "the connection string has a part that is not NAME=VALUE");
    if (!parts.emplace(part.substr(0, equals), part.substr(equals + 1)).second) {
      return fail("config_invalid", "the connection string names a part twice");
    }
  }
  return parts;
}

}  // namespace

bool is_account_name(std::string_view name) {
  return name.size() >= 3 && name.size() <= 24 &&
         std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

bool is_service_url(std::string_view url) {
  const bool plain = url.size() <= 512 && !url.ends_with('/') &&
                     std::ranges::all_of(url, [](char c) { return c > 0x20 && c < 0x7f; }) &&
                     url.find_first_of("?#@%\"\\{}") == std::string_view::npos;
  if (!plain) return false;
  if (url.starts_with("https://")) return url.size() > 8 && url[8] != '/' && url[8] != ':';
  if (!url.starts_with("http://")) return false;
  const std::string_view authority = url.substr(7, url.find('/', 7) - 7);
  return http::is_loopback_host(authority.substr(0, authority.find(':')));
}

Result<SecretString> parse_sas(std::string_view text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  if (text.starts_with('?')) text.remove_prefix(1);
  const bool plain = !text.empty() && text.size() <= kMaxSasBytes &&
                     std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f && c != '#' && c != '?'; });
  const auto query = plain ? http::Query::parse(text) : fail("config_invalid", "");
  if (!query || query->count("sig") != 1 || query->count("sv") != 1) {
    return fail("config_invalid", "the SAS is not a query with sv and sig");
  }
  // What the requests themselves say must not come from it.
  for (const char* name : {"comp", "restype", "blockid", "blocklisttype", "timeout"}) {
    if (query->count(name) != 0) return fail("config_invalid", fmt::format("the SAS must not have {}", name));
  }
  return SecretString(std::string(text));
}

std::optional<std::int64_t> sas_end(std::string_view sas) {
  const auto query = http::Query::parse(sas);
  if (!query || query->count("se") != 1) return std::nullopt;
  std::string end;
  for (const auto& [name, value] : query->entries()) {
    if (name == "se") end = value;
  }
  if (end.size() == 10) end += "T00:00:00Z";
  if (end.size() == 17 && end.ends_with('Z')) end.insert(16, ":00");
  const auto time = from_rfc3339(end);
  return time ? std::optional(*time) : std::nullopt;
}

Result<ConnectionString> parse_connection_string(std::string_view text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  if (text.size() > kMaxConnectionStringBytes) return fail("config_invalid", "the connection string is too long");
  const Parts parts = TRY(split(text));
  const auto part = [&](std::string_view name) {
    const auto found = parts.find(name);
    return found == parts.end() ? std::string_view() : found->second;
  };
  if (parts.contains("UseDevelopmentStorage")) {
    return fail("config_invalid", "UseDevelopmentStorage is not taken: name BlobEndpoint, AccountName and AccountKey");
  }
  ConnectionString out;
  out.account = part("AccountName");
  if (!out.account.empty() && !is_account_name(out.account)) {
    return fail("config_invalid", "AccountName must be 3 to 24 lower-case letters and digits");
  }
  if (!part("BlobEndpoint").empty()) {
    out.service_url = without_slashes(part("BlobEndpoint"));
  } else if (!out.account.empty()) {
    const std::string_view suffix = part("EndpointSuffix").empty() ? "core.windows.net" : part("EndpointSuffix");
    if (!is_host_suffix(suffix)) return fail("config_invalid", "EndpointSuffix is no name of a host");
    const std::string_view protocol =
        part("DefaultEndpointsProtocol").empty() ? "https" : part("DefaultEndpointsProtocol");
    out.service_url = fmt::format("{}://{}.blob.{}", protocol, out.account, suffix);
  } else {
    return fail("config_invalid", "the connection string has neither AccountName nor BlobEndpoint");
  }
  if (!is_service_url(out.service_url)) {
    return fail("config_invalid", "the connection string's endpoint must be https (http on loopback only)");
  }
  if (!part("SharedAccessSignature").empty()) out.sas = TRY(parse_sas(part("SharedAccessSignature")));
  if (!part("AccountKey").empty()) {
    auto key = from_base64(part("AccountKey"));
    if (!key || key->empty()) return fail("config_invalid", "AccountKey is not base64");
    out.key = SecretString(std::string(as_text(*key)));
    wipe(key->data(), key->size());
    if (out.account.empty()) return fail("config_invalid", "AccountKey needs AccountName beside it");
  }
  if (!out.key && !out.sas) return fail("config_invalid", "needs AccountKey or SharedAccessSignature");
  return out;
}

}  // namespace tb::azure
