#include "oms/signature.h"

#include <fmt/format.h>

namespace tb::oms {
namespace {

PublicKey key_by_hint(const Bundle& bundle, const Trust& trust) {
  if (!trust.key) {
    throw Error("oms_key_mismatch", "the bundle was signed with a key, not with a certificate")
        .with_hint("give the signer's public key with --oms-key");
  }
  const bool same = bundle.hint.empty()
                        ? as_text(bundle.public_key) == trust.key->pem() || bundle.public_key == trust.key->der()
                        : bundle.hint == trust.key->hint();
  if (!same) throw Error("oms_key_mismatch", "the bundle was signed with another key");
  return *trust.key;
}

PublicKey key_by_certificate(const Bundle& bundle, const Trust& trust) {
  if (trust.anchors.empty()) {
    throw Error("oms_key_mismatch", "the bundle was signed with a certificate")
        .with_hint("give the certificate authority that you trust with --oms-ca");
  }
  return trusted_leaf_key(bundle.certificates, trust.anchors, trust.now);
}

}  // namespace

std::string pre_authentication(std::string_view payload_type, std::string_view payload) {
  return fmt::format("DSSEv1 {} {} {} {}", payload_type.size(), payload_type, payload.size(), payload);
}

void require_certified(const SigningKey& key, const std::vector<Bytes>& chain) {
  if (chain.empty() || chain.size() > kMaxCertificates || !(key_of_certificate(chain.front()) == key.public_key())) {
    throw Error("oms_certificate_refused", "the first certificate is not of the signing key");
  }
}

Bundle sign(const Statement& statement, const SigningKey& key, const std::vector<Bytes>& chain) {
  Bundle bundle;
  if (chain.empty()) {
    bundle.hint = key.public_key().hint();
  } else {
    require_certified(key, chain);
  }
  bundle.certificates = chain;
  bundle.payload = statement.text();
  bundle.signature = key.sign(as_bytes(pre_authentication(kPayloadType, bundle.payload)));
  return bundle;
}

Statement verify(const Bundle& bundle, const Trust& trust) {
  const PublicKey key = bundle.certificates.empty() ? key_by_hint(bundle, trust) : key_by_certificate(bundle, trust);
  if (!key.verifies(as_bytes(pre_authentication(kPayloadType, bundle.payload)), bundle.signature)) {
    throw Error("oms_signature_mismatch", "the bundle's signature is not by this key over this statement");
  }
  return Statement::parse(bundle.payload);
}

}  // namespace tb::oms
