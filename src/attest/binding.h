// What evidence is bound to: the one request that it was made for (docs/spec/wire.md 1.1, Evidence).
#pragma once

#include <string>

#include "base/crypto.h"

namespace tb::attest {

struct Binding {
  std::string nonce;       ///< of POST …/challenge, as it stands on the wire
  std::string thumbprint;  ///< RFC 7638, of the one-time key
  std::string contract_id;
  std::string asset_id;
  std::string lease_id;  ///< empty at the first authorize
  std::string config_sha256;
};

/// SHA-256("trustbridge/evidence/v1" ‖ for each member in order: its length as a big-endian u32 ‖ its bytes).
Digest evidence_digest(const Binding& binding);

}  // namespace tb::attest
