#include "oci/reference.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::oci {
namespace {

constexpr std::size_t kMaxNameBytes = 255;
constexpr std::size_t kMaxTagBytes = 128;
constexpr std::size_t kHexDigits = 64;
constexpr std::string_view kSha256 = "sha256:";

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

// One part of a repository: runs of lower-case letters and digits, joined by one of . _ __ or any number of -.
bool is_part(std::string_view part) {
  std::size_t at = 0;
  const auto run = [&] {
    const std::size_t from = at;
    while (at < part.size() && (is_lower(part[at]) || is_digit(part[at]))) ++at;
    return at > from;
  };
  if (!run()) return false;
  while (at < part.size()) {
    if (part[at] == '.') {
      ++at;
    } else if (part[at] == '_') {
      at += part.substr(at).starts_with("__") ? 2 : 1;
    } else if (part[at] == '-') {
      while (at < part.size() && part[at] == '-') ++at;
    } else {
      return false;
    }
    if (!run()) return false;
  }
  return true;
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 && std::ranges::all_of(text, is_digit) &&
         std::stoi(std::string(text)) <= 65535 && text.front() != '0';
}

Result<Reference> refused(std::string_view what) {
  return fail("image_reference_invalid", fmt::format("not an image reference: {}", what));
}

}  // namespace

bool is_repository(std::string_view text) {
  if (text.empty() || text.size() > kMaxNameBytes) return false;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('/', at), text.size());
    if (!is_part(text.substr(at, end - at))) return false;
    at = end + 1;
  }
  return true;
}

bool is_registry(std::string_view text) {
  if (text.empty() || text.size() > kMaxNameBytes) return false;
  std::string_view host = text;
  if (text.front() == '[') {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    host = text.substr(1, end - 1);
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && (rest.front() != ':' || !is_port(rest.substr(1)))) return false;
    return std::ranges::all_of(host, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || c == ':'; });
  }
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    if (!is_port(text.substr(colon + 1))) return false;
    host = text.substr(0, colon);
  }
  for (std::size_t at = 0; at <= host.size();) {
    const std::size_t end = std::min(host.find('.', at), host.size());
    const std::string_view label = host.substr(at, end - at);
    const auto allowed = [](char c) { return is_lower(c) || is_upper(c) || is_digit(c) || c == '-'; };
    if (label.empty() || label.front() == '-' || label.back() == '-' || !std::ranges::all_of(label, allowed))
      return false;
    at = end + 1;
  }
  return true;
}

bool is_tag(std::string_view text) {
  const auto allowed = [](char c) {
    return is_lower(c) || is_upper(c) || is_digit(c) || c == '_' || c == '.' || c == '-';
  };
  return !text.empty() && text.size() <= kMaxTagBytes && text.front() != '.' && text.front() != '-' &&
         std::ranges::all_of(text, allowed);
}

bool is_digest(std::string_view text) {
  if (!text.starts_with(kSha256)) return false;
  text.remove_prefix(kSha256.size());
  return text.size() == kHexDigits &&
         std::ranges::all_of(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

Result<Reference> parse_reference(std::string_view text) {
  Reference out;
  if (const std::size_t at = text.find('@'); at != std::string_view::npos) {
    out.digest = text.substr(at + 1);
    if (!is_digest(out.digest)) return refused("the digest is not sha256 and 64 lower-case hex digits");
    text = text.substr(0, at);
  }
  const std::size_t slash = text.find('/');
  const std::string_view first = text.substr(0, std::min(slash, text.size()));
  const bool names_registry =
      slash != std::string_view::npos && (first.find_first_of(".:[") != std::string_view::npos || first == "localhost");
  if (names_registry) {
    if (!is_registry(first)) return refused("the registry is not a host with a port or without");
    out.registry = first;
    text = text.substr(slash + 1);
  } else {
    out.registry = "docker.io";
  }
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    out.tag = text.substr(colon + 1);
    if (!is_tag(out.tag)) return refused("the tag has other characters than letters, digits, _ . and -, or too many");
    text = text.substr(0, colon);
  }
  out.repository = (!names_registry && slash == std::string_view::npos ? "library/" : "") + std::string(text);
  if (!is_repository(out.repository)) {
    return refused("the name is not of lower-case letters and digits, with . _ - or / between them");
  }
  if (out.tag.empty() && out.digest.empty()) out.tag = "latest";
  return out;
}

std::string Reference::host_name() const {
  const std::string host = api_host();
  if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.find(':'));
}

std::string Reference::to_text() const {
  return registry + "/" + repository + (tag.empty() ? "" : ":" + tag) + (digest.empty() ? "" : "@" + digest);
}

}  // namespace tb::oci
