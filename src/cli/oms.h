// OpenSSF Model Signing at the command line: the bundle that encrypt writes from the plaintext as it passes, and the
// one that verify holds a ciphertext's plaintext, or a model that lies open, against.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "asset/pack.h"
#include "cli/console.h"
#include "oms/digests.h"
#include "oms/signature.h"

namespace tb::cli {

struct OmsSignFlags {
  std::string key;           ///< 0600 file, PEM; empty: nothing is signed
  std::string certificates;  ///< PEM, the signer's first; empty: the bundle names the key alone
  std::string bundle;        ///< empty: beside the ciphertext
};

struct OmsVerifyFlags {
  std::string key;     ///< public key, PEM
  std::string ca;      ///< certificate authorities that are trusted, PEM
  std::string bundle;  ///< empty: where it is by default
  bool asked() const { return !key.empty() || !ca.empty() || !bundle.empty(); }
};

/// `model.sig` beside `model.tbenc`; other names get `.sig` added.
std::string oms_bundle_path_of(const std::string& ciphertext);

/// The signature of one encryption.
class OmsSigning {
 public:
  /// Nothing where no key is named. Reads the key before anything is made; `source` outlives this. Throws "usage",
  /// "file_mode_unsafe", "oms_key_refused", "oms_certificate_refused".
  static std::optional<OmsSigning> begin(const OmsSignFlags& flags, const asset::PackSource& source);
  void update(ByteView plain) { digests_.update(plain); }
  /// The bundle's text once all plaintext has passed.
  std::string finish();

 private:
  OmsSigning(oms::SigningKey key, std::vector<Bytes> chain, const asset::PackSource& source);
  oms::SigningKey key_;
  std::vector<Bytes> chain_;
  const asset::PackSource* source_;
  oms::ModelDigests digests_;
};

/// What somebody whom the flags trust has signed. Throws "usage" if they trust nobody, the errors of oms::verify.
oms::Statement read_signed_statement(const OmsVerifyFlags& flags, const std::string& default_bundle);

struct OmsProof {
  std::string subject;
  std::size_t files = 0;
};
OmsProof proof_of(const oms::Statement& statement);

/// A file or directory that lies open against its bundle (`model.sig` inside a directory, or beside a file with `.sig`
/// added), which does not count as part of it. Gives the plaintext's bytes too. Throws "oms_content_mismatch",
/// "cancelled", the errors of PackSource.
struct VerifiedModel {
  OmsProof proof;
  std::uint64_t plaintext_bytes = 0;
};
VerifiedModel verify_open_model(const std::string& path, const OmsVerifyFlags& flags, const Console& console);

}  // namespace tb::cli
