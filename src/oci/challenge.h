// `WWW-Authenticate` of a registry (RFC 9110 section 11.6.1; the distribution project's token specification): what a
// registry wants to be shown. Written by whoever answers, so bounded and strict. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tb::oci {

struct Challenge {
  enum class Scheme { kBasic, kBearer };
  Scheme scheme = Scheme::kBasic;
  std::string realm;    ///< of Bearer: the URL that gives tokens
  std::string service;  ///< of Bearer; may be empty
  std::string scope;    ///< of Bearer; may be empty
  bool operator==(const Challenge&) const = default;
};

/// The first challenge that we can answer, Bearer before Basic; nothing if there is none or the field is malformed.
std::optional<Challenge> parse_challenge(std::string_view field);

}  // namespace tb::oci
