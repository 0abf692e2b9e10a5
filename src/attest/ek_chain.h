// An endorsement key's certificate: does it lead to a root that was pinned, and is it about this very key?
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"

namespace tb::attest {

struct EkChain {
  Bytes leaf;                        ///< DER; empty: none came
  std::vector<Bytes> intermediates;  ///< DER, as the machine sent them: trusted only through a root
  std::vector<std::string> roots_pem;
  UnixMs now = 0;
};

/// "tpm_malformed" saying what is wrong: no certificate, unreadable, of another key, a CA itself, not for endorsement
/// keys (extended key usage 2.23.133.8.1), expired, weak (under 112 bits), or not below a pinned root. Revocation lists
/// are not asked for: there is no connection to a TPM's maker here.
Result<> check_ek_chain(const EkChain& chain, ByteView ek_spki);

}  // namespace tb::attest
