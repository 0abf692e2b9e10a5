// How an image is named: registry.example:5000/team/name:tag@sha256:…  Names go into URLs and file names, so a name is
// taken only if every part has the form of the OCI distribution spec; nothing is escaped or mended. A name without a
// registry is docker.io's, as everybody's tools have it. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tb::oci {

struct Reference {
  std::string registry;    ///< host[:port], as typed: also what credentials are looked up by
  std::string repository;  ///< "team/name"
  std::string tag;         ///< empty if only a digest was given
  std::string digest;      ///< "sha256:…" or empty

  /// What stands in /v2/<repository>/manifests/…: the digest, where there is one.
  const std::string& target() const { return digest.empty() ? tag : digest; }
  /// The host that answers the registry's API.
  std::string api_host() const { return registry == "docker.io" ? "registry-1.docker.io" : registry; }
  /// The host's name alone, for what is decided by it (loopback).
  std::string host_name() const;
  std::string to_text() const;
  bool operator==(const Reference&) const = default;
};

/// "image_reference_invalid" with the part that is wrong. Without tag and digest the tag is "latest".
Result<Reference> parse_reference(std::string_view text);

bool is_repository(std::string_view text);  ///< lower-case parts joined by '/', at most 255 bytes
bool is_registry(std::string_view text);  ///< a host name, an IPv4 address or a bracketed IPv6 one, with a port or not
bool is_tag(std::string_view text);       ///< at most 128 of A-Z a-z 0-9 _ . -, not starting with '.' or '-'
bool is_digest(std::string_view text);    ///< "sha256:" and 64 lower-case hex digits

}  // namespace tb::oci
