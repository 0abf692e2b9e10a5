// This machine's TPM 2.0, for what an attested start needs: an endorsement key, an attestation key below it, quotes,
// and the opening of a credential. Through tpm2-tss (ESAPI).
//
// A TPM is a slow device behind a driver that can hang, and ESAPI waits for it without limit: every call runs on one
// thread of its own, and the caller stops waiting after `timeout_ms` or when it is stopped. Then the object is of no
// more use ("tpm_timeout" from then on), the thread is left behind until the device answers, and nothing it holds dies
// before it. Throws "tpm_unavailable" (none here, or not ours to open), "tpm_failed" (it refused), "tpm_timeout",
// "cancelled".
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "api/evidence.h"
#include "base/secret.h"

namespace tb::tpm {

struct Options {
  std::string tcti;  ///< as tpm2-tss spells it; empty: "device:/dev/tpmrm0"
  std::int64_t timeout_ms = 30'000;
};

struct Keys {
  Bytes ek_public, ek_certificate, ak_public;  ///< TPMT_PUBLIC, DER (empty: none in the TPM), TPMT_PUBLIC
};

struct SignedQuote {
  Bytes quote, signature;  ///< TPMS_ATTEST, TPMT_SIGNATURE
  api::PcrValues pcrs;
};

class Tpm {
 public:
  explicit Tpm(Options options);
  ~Tpm();
  Tpm(const Tpm&) = delete;
  Tpm& operator=(const Tpm&) = delete;

  /// The endorsement key (RSA 2048; P-256 where the TPM makes no RSA keys) and the attestation key (P-256) that lies
  /// wrapped in `directory` (0700, "ak.pub" and "ak.priv"): made there if there is none, or if this TPM cannot load it.
  Keys open_keys(const std::string& directory, std::stop_token stop = {});
  /// The endorsement key alone.
  Keys endorsement_key(std::stop_token stop = {});
  /// The secret in a credential for this TPM and the key of open_keys.
  SecretString activate(const Bytes& id_object, const Bytes& encrypted_secret, std::stop_token stop = {});
  /// PCRs and a quote over them by the key of open_keys.
  SignedQuote quote(const api::PcrIndices& selection, const Digest& qualifier, std::stop_token stop = {});
  api::PcrValues read_pcrs(const api::PcrIndices& selection, std::stop_token stop = {});

 private:
  class Device;
  std::shared_ptr<Device> device_;
};

}  // namespace tb::tpm
