// Proving an asset without releasing it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/manifest_file.h"
#include "cli/oms.h"

namespace tb::cli {

struct VerifyOptions {
  std::string in;
  std::string key_file;  ///< empty: no key, the SHA-256 only; "-": standard input
  ManifestFlags manifest;
  OmsVerifyFlags oms;
  bool plaintext = false;  ///< `in` is the model itself, as a directory always is
  unsigned jobs = 0;
};

struct Verified {
  std::string asset_id;  ///< empty without a manifest
  std::uint64_t ciphertext_bytes = 0, plaintext_bytes = 0, chunks = 0;
  std::vector<std::string>
      proofs;  ///< what held, in the order of proving: "mac", "signature", "tags", "content", "sha256", "oms"
  bool end_authenticated = false;
  std::optional<OmsProof> oms;
};

/// With a key: mac, every tag, the count, the total, and that every byte of a directory's stream belongs to an indexed
/// file, its header or zero padding; plaintext hashes where the manifest has them. Without a key, or where no mac
/// stands in the manifest: the SHA-256. With an OMS bundle, too, whose signature is looked at first: what was signed is
/// the plaintext, whole. Throws the first thing that does not hold; "usage" if nothing could be proven.
Verified verify_asset(const VerifyOptions& options, const Console& console);

}  // namespace tb::cli
