// The file that carries an OMS signature: a Sigstore bundle v0.3 (JSON) around a DSSE envelope around the statement.
//
// parse() is strict about everything that is read and keeps nothing that is not: unknown members beside the ones that
// the bundle's own format names are refused. Who is believed is signature.h's to say.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace tb::oms {

inline constexpr std::string_view kMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json";
inline constexpr std::string_view kPayloadType = "application/vnd.in-toto+json";
/// A leaf and its chain; more is refused.
inline constexpr std::size_t kMaxCertificates = 10;

struct Bundle {
  // Exactly one of these three says whose signature it is.
  std::string hint;                 ///< lower-case hex SHA-256 of the public key as PEM (method `key`)
  Bytes public_key;                 ///< in its place, from signers before 1.1: the key itself, PEM or DER
  std::vector<Bytes> certificates;  ///< DER, the signer's first (method `certificate`)

  std::string payload;  ///< the statement, as it was signed
  Bytes signature;      ///< DER, as ECDSA gives it

  /// Throws "oms_bundle_malformed" naming the member, "oms_unsupported" (a Sigstore identity, other bundle versions).
  static Bundle parse(std::string_view text);
  /// Indented JSON with a final newline.
  std::string text() const;
  bool operator==(const Bundle&) const = default;
};

}  // namespace tb::oms
