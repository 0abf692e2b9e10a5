// Who signed a model: from a statement to a bundle, and from a bundle to a statement that somebody is known to have
// made.
//
// The verifier's own key or anchors say who is believed. What travels in the bundle only says which key it was: a
// bundle that brings its own certificate proves nothing without an anchor. Method `sigstore` (keyless) is refused.
#pragma once

#include <optional>
#include <vector>

#include "base/clock.h"
#include "oms/bundle.h"
#include "oms/crypto_keys.h"
#include "oms/statement.h"

namespace tb::oms {

/// DSSE's pre-authentication encoding: what is signed.
std::string pre_authentication(std::string_view payload_type, std::string_view payload);

/// Throws "oms_certificate_refused" unless chain[0] is of `key` and the chain fits into a bundle.
void require_certified(const SigningKey& key, const std::vector<Bytes>& chain);

/// With `chain` (DER, the signer's certificate first, which must be of this key: require_certified) the bundle names
/// the signer by certificate, else by the key's hint.
Bundle sign(const Statement& statement, const SigningKey& key, const std::vector<Bytes>& chain = {});

/// Whom the verifier believes. A bundle signed with a key needs `key`, one with a certificate needs `anchors`.
struct Trust {
  std::optional<PublicKey> key;
  std::vector<Bytes> anchors;  ///< DER
  UnixMs now = 0;
};

/// Throws "oms_key_mismatch" (signed with another key, or by the other method), "oms_certificate_refused",
/// "oms_signature_mismatch", and what Statement::parse throws: nothing in the payload is read before its signature
/// held.
Statement verify(const Bundle& bundle, const Trust& trust);

}  // namespace tb::oms
