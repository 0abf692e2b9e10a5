// The documents that an image is made of (OCI image spec 1.1, and Docker's schema 2, which has the same shape): index,
// manifest and the descriptors in them. They come from registries and files of others: all of it is bounded, digests
// are SHA-256 only, and what is not understood is refused, not passed on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tb::oci {

inline constexpr std::string_view kIndexType = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kManifestType = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kConfigType = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kLayerType = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kDockerListType = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifestType = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kRefName = "org.opencontainers.image.ref.name";

inline constexpr std::size_t kMaxDocumentBytes = std::size_t{4} << 20;  ///< as registries have it
inline constexpr std::size_t kMaxEntries = 1000;                        ///< layers of a manifest, manifests of an index
inline constexpr std::uint64_t kMaxBlobBytes = std::uint64_t{1} << 40;

struct Descriptor {
  std::string media_type;
  std::string digest;
  std::uint64_t bytes = 0;
  std::string os, architecture, variant;  ///< of an index's entry
  std::string ref_name;                   ///< annotation kRefName
  bool operator==(const Descriptor&) const = default;

  Json to_json() const;
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;
  std::map<std::string, std::string> annotations;

  /// As OCI, whatever it was read as.
  std::string to_text() const;
};

/// Both: "image_malformed". Foreign layers (with `urls` elsewhere) and unknown compressions are refused.
Result<Manifest> parse_manifest(std::string_view text);
Result<std::vector<Descriptor>> parse_index(std::string_view text);

std::string index_text(const std::vector<Descriptor>& manifests);

bool is_index_type(std::string_view media_type);
bool is_manifest_type(std::string_view media_type);

/// The manifest that runs here (linux/amd64) and, if it is not empty, is called `ref_name`. An only manifest is taken
/// without a platform. "image_not_found" if there is none, or more than one.
Result<Descriptor> choose_manifest(const std::vector<Descriptor>& manifests, std::string_view ref_name = {});

/// "sha256:" and the digest of `text`.
std::string digest_of(std::string_view text);
Descriptor describe(std::string_view media_type, std::string_view text);

}  // namespace tb::oci
