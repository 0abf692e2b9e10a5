// The manifest: the JSON object that travels beside a ciphertext and says what it is. Normative: tbenc-v1 sections
// 4, 5.
//
// parse() promises form only. Nothing in a manifest may be believed before authenticate() has said by which proof; the
// storage it came from may be hostile. The document is kept as it was received, unknown fields included, because mac,
// signatures and digest are over all of it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "asset/content.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/result.h"
#include "tbenc/header.h"
#include "tbenc/layout.h"

namespace tb::asset {

inline constexpr std::string_view kFormat = "tbenc/v1";
inline constexpr std::string_view kAlgo = "aes-256-gcm-chunked";
inline constexpr std::string_view kDefaultWeightsFilename = "model.tbenc";
inline constexpr std::size_t kMaxManifestBytes = std::size_t{64} << 20;
/// Above this the first implementation cannot read the manifest: writers warn.
inline constexpr std::size_t kFirstImplementationManifestBytes = std::size_t{1} << 20;

/// What registration and the authorize answer repeat of a manifest (wire 1.1, 1.2).
struct Metadata {
  std::string format;
  std::string algo;
  std::uint32_t chunk_bytes = 0;
  std::uint64_t plaintext_bytes = 0;
  std::string sha256_ciphertext;  ///< 64 lower-case hex digits

  bool operator==(const Metadata&) const = default;
  Json to_json() const;
  /// Strict on the five fields, ignores others; "manifest_malformed" naming the field.
  static Result<Metadata> from_json(const Json& json);
};

struct ManifestSignature {
  std::string keyid;  ///< lower-case hex SHA-256 of the raw public key
  Ed25519Signature value{};
};

class Manifest {
 public:
  /// Strict reading of section 4; "manifest_too_large" or "manifest_malformed", naming what is wrong.
  static Result<Manifest> parse(std::string_view text);
  /// The same for a document that was parsed elsewhere (registration), with the limits of section 4 applied to it.
  static Result<Manifest> from_json(const Json& document);

  std::uint32_t chunk_bytes() const { return chunk_bytes_; }
  std::uint64_t plaintext_bytes() const { return plaintext_bytes_; }
  /// Of the whole file, lower-case hex.
  const std::string& sha256_ciphertext() const { return sha256_ciphertext_; }
  const std::string& asset_id() const { return asset_id_; }
  const std::string& weights_filename() const { return weights_filename_; }
  const std::optional<tbenc::NoncePrefix>& nonce_prefix() const { return nonce_prefix_; }
  const std::optional<std::int64_t>& version() const { return version_; }
  /// Absent: one raw file without a name (the first implementation).
  const std::optional<Content>& content() const { return content_; }
  /// As the document says; only with the right of authenticate() does it count: see Authenticity.
  bool stated_allow_finetune() const { return allow_finetune_; }
  bool has_mac() const { return mac_.has_value(); }
  const std::vector<ManifestSignature>& signatures() const { return signatures_; }

  tbenc::Layout layout() const { return *layout_; }
  /// What every reader of the ciphertext is to be given.
  tbenc::Known known() const { return {plaintext_bytes_, chunk_bytes_, nonce_prefix_}; }
  Metadata metadata() const;
  /// Lower-case hex SHA-256 of the RFC 8785 form of the whole document: `manifest_sha256` of the authorize answer.
  std::string sha256() const;
  const Json& document() const { return document_; }
  /// Indented JSON with a final newline: what stands in a manifest file.
  std::string text() const { return document_.pretty() + "\n"; }

  /// "mac_missing" without one, "mac_mismatch" (tampered) if it is not by this file key.
  Result<> verify_mac(const FileKey& key) const;
  /// "signature_missing" if none is by `key`, "signature_mismatch" (tampered) if one claims to be and is not.
  Result<> verify_signature(const Ed25519PublicKey& key) const;

  /// Adds a signature by `key`, replacing an earlier one by it. The mac stays valid.
  void sign(const Ed25519PrivateKey& key);

 private:
  friend struct ManifestDraft;
  Manifest() = default;
  Result<> read();
  /// What mac and signatures are over.
  std::string proven_bytes() const;

  Json document_;
  std::uint32_t chunk_bytes_ = 0;
  std::uint64_t plaintext_bytes_ = 0;
  std::optional<tbenc::Layout> layout_;  ///< always there after read()
  std::string sha256_ciphertext_, asset_id_, weights_filename_;
  std::optional<tbenc::NoncePrefix> nonce_prefix_;
  std::optional<std::int64_t> version_;
  std::optional<Content> content_;
  bool allow_finetune_ = true;
  std::optional<Digest> mac_;
  std::vector<ManifestSignature> signatures_;
};

/// What an encryption knows when it is done: build() makes the manifest, with its mac.
struct ManifestDraft {
  std::string asset_id;
  std::string weights_filename = std::string(kDefaultWeightsFilename);
  tbenc::Header header;
  std::uint64_t plaintext_bytes = 0;
  Digest sha256_ciphertext{};
  bool allow_finetune = true;
  std::optional<std::int64_t> version;
  std::optional<Content> content;

  /// "manifest_malformed" if a field breaks a rule of section 4 or 6, "manifest_too_large" above 64 MiB.
  Result<Manifest> build(const FileKey& key) const;
};

/// What the reader of a manifest holds against it. Everything that is set must hold.
struct Expectation {
  const FileKey* key = nullptr;                  ///< checks the mac, where there is one
  std::optional<std::string> asset_id;           ///< the asset that was asked for
  std::optional<std::string> manifest_sha256;    ///< of the authorize answer, hex
  std::optional<Metadata> metadata;              ///< of the authorize answer
  std::optional<Ed25519PublicKey> provider_key;  ///< pinned: its signature is required
  bool allow_unauthenticated = false;            ///< the operator's explicit flag
};

/// Which proofs held. The rules of section 5 are these three functions, nowhere else.
struct Authenticity {
  bool mac = false;
  bool digest = false;
  bool metadata = false;
  bool signature = false;

  /// False: say so in the log, in /status, to the user.
  bool authenticated() const { return mac || digest || metadata || signature; }
  /// Without a mac the SHA-256 of the ciphertext must be verified before any plaintext is released.
  bool needs_ciphertext_sha256() const { return !mac; }
  /// `metadata` does not cover the field, so it is no proof for it.
  bool allow_finetune(const Manifest& manifest) const {
    return (mac || digest || signature) && manifest.stated_allow_finetune();
  }
};

/// "asset_mismatch", "manifest_digest_mismatch", "metadata_mismatch", "signature_missing", "signature_mismatch",
/// "mac_mismatch" (all tampered) or "manifest_unauthenticated" (nothing proves it and that is not allowed).
Result<Authenticity> authenticate(const Manifest& manifest, const Expectation& expected);

/// Header and size of a ciphertext against its manifest: "header_mismatch" (chunk_bytes), "nonce_prefix_mismatch",
/// "ciphertext_truncated", "trailing_bytes".
Result<> check_file(const Manifest& manifest, const tbenc::Header& header, std::uint64_t ciphertext_bytes);

/// `^[a-zA-Z0-9_-]{1,100}$`
bool is_asset_id(std::string_view text);
/// A bare file name that is not hidden: no `/`, `\`, `..`, NUL or other control character, no leading dot.
bool is_weights_filename(std::string_view text);
/// Lower-case hex SHA-256 of the raw key: names it in signatures.
std::string keyid_of(const Ed25519PublicKey& key);

}  // namespace tb::asset
