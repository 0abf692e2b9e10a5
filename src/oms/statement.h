// What an OpenSSF Model Signing (OMS) v1.0 bundle says of a model: an in-toto statement v1 with one digest for each
// file (or piece of a file), and one over all of them.
//
// parse() promises form only: whether anybody signed it is signature.h's to say. What OMS allows and this reader does
// not know (other hashes than SHA-256, the deprecated predicate) is refused by name, never passed over.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"

namespace tb::oms {

inline constexpr std::string_view kStatementType = "https://in-toto.io/Statement/v1";
inline constexpr std::string_view kPredicateType = "https://model_signing/signature/v1.0";
/// As a manifest: an index of this size is the largest model that can be encrypted.
inline constexpr std::size_t kMaxBundleBytes = std::size_t{64} << 20;

/// One file, or with shards the bytes [start, end) of one: then `name` is `path:start:end`.
struct Resource {
  std::string name;
  Digest digest{};
  bool operator==(const Resource&) const = default;
};

struct Statement {
  std::string subject;              ///< the model's name: says nothing that anybody may rely on
  std::vector<Resource> resources;  ///< sorted by name in whole files; in the signer's order with shards
  std::uint64_t shard_bytes = 0;    ///< 0: whole files
  bool allow_symlinks = false;      ///< the signer followed links
  std::vector<std::string> ignore_paths;

  /// Strict. Throws "oms_bundle_malformed" naming the field, "oms_unsupported".
  static Statement parse(std::string_view payload);
  /// The signed payload. `resources` are as parse() wants them.
  std::string text() const;
  /// True for `path` and everything below it where the signer left it out: what OMS always leaves out, and
  /// ignore_paths.
  bool ignores(std::string_view path) const;
  bool operator==(const Statement&) const = default;
};

/// `.git`, `.gitattributes`, `.github` and `.gitignore` at the top of the model: never signed (OMS 6.2).
const std::vector<std::string>& default_ignore_paths();

/// SHA-256 over the raw digests in order (OMS 6.5.1).
Digest root_digest(const std::vector<Resource>& resources);

/// `path:start:end`
std::string shard_name(std::string_view path, std::uint64_t start, std::uint64_t end);
/// The file that a resource is (a piece) of.
std::string_view file_of(const Statement& statement, const Resource& resource);

}  // namespace tb::oms
