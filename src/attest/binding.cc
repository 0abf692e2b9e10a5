// Lengths stand before the texts, so that no two requests give the same bytes.
#include "attest/binding.h"

namespace tb::attest {

Digest evidence_digest(const Binding& binding) {
  Sha256 sha;
  sha.update(as_bytes("trustbridge/evidence/v1"));
  for (const std::string* text : {&binding.nonce, &binding.thumbprint, &binding.contract_id, &binding.asset_id,
                                  &binding.lease_id, &binding.config_sha256}) {
    std::uint8_t length[4];
    store_be32(length, static_cast<std::uint32_t>(text->size()));
    sha.update(length);
    sha.update(as_bytes(*text));
  }
  return sha.finish();
}

}  // namespace tb::attest
