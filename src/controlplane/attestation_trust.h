// What this control plane believes of machines' evidence, from the operator's files: AMD's roots and revocation lists,
// and the services whose attestation tokens count, each with its keys. Read once at the start; nothing else is
// believed.
#pragma once

#include <functional>
#include <string>

#include "attest/verify_evidence.h"

namespace tb::controlplane {

/// Paths; "" where nothing is configured.
struct AttestationFiles {
  std::string snp_roots;        ///< PEM certificates
  std::string snp_revocations;  ///< PEM revocation lists
  std::string token_issuers;    ///< JSON: [{"issuer": iss, "keys_file": JWK set | "keys_url": https address of one}]
};

/// The body of a GET; throws what the HTTP client throws, also for answers other than 200.
using FetchText = std::function<std::string(const std::string& url)>;
FetchText fetch_over_https();

/// Throws "config_invalid" naming the file that cannot stand. Key sets at addresses are fetched when first needed.
attest::Trust load_attestation_trust(const AttestationFiles& files, const FetchText& fetch);

}  // namespace tb::controlplane
