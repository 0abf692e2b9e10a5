// What encrypt does whatever becomes of the ciphertext: checks, the scan of the input, sealing into a sink, the
// manifest.
#pragma once

#include <optional>

#include "asset/pack.h"
#include "cli/encrypt.h"
#include "tbenc/layout.h"
#include "tbenc/parallel.h"
#include "tbenc/sink.h"

namespace tb::cli {

/// Where the pieces of an asset lie, by the options.
struct AssetPaths {
  explicit AssetPaths(const EncryptOptions& options);
  std::string ciphertext, manifest, key;
  std::string oms_bundle;  ///< empty: none was asked for
};

class Sealing {
 public:
  /// Checks, reads the signing keys, scans. Throws "usage", "output_is_input", "pickle_refused", the errors of
  /// PackSource and OmsSigning.
  Sealing(const EncryptOptions& options, const AssetPaths& paths);

  const tbenc::Header& header() const { return header_; }
  std::uint64_t plaintext_bytes() const { return source_.plaintext_bytes(); }
  std::uint64_t ciphertext_bytes() const { return layout_.ciphertext_bytes(); }
  std::size_t files() const;
  /// Once. The manifest is signed if that was asked for. Throws the errors of tbenc::encrypt.
  asset::Manifest run(const FileKey& key, tbenc::Sink& sink, const Console& console);
  /// Once, after run(): the text of the bundle that was asked for.
  std::string oms_bundle() { return signing_->finish(); }

 private:
  tbenc::EncryptResult seal(const FileKey& key, tbenc::Sink& sink, Progress& progress);

  const EncryptOptions& options_;
  const std::string weights_filename_;
  std::optional<Ed25519PrivateKey> signer_;
  asset::PackSource source_;
  std::optional<OmsSigning> signing_;
  tbenc::Header header_;
  tbenc::Layout layout_;
};

}  // namespace tb::cli
