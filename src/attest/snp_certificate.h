// X.509 as AMD uses it for SEV-SNP keys (AMD 57230): the chain from a pinned root to the key that signed a report, the
// extensions of that key's certificate, and its signature.
//
// Roots (ARK) are the operator's: a certificate that travels with evidence is never one.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attest/snp_report.h"
#include "base/clock.h"
#include "base/result.h"

struct x509_st;
struct X509_crl_st;

namespace tb::attest {

inline constexpr std::size_t kMaxCertificateBytes = 8192;

/// One certificate, read only; may be used by several threads.
class Certificate {
 public:
  /// Strict: nothing stands after it. "certificate_malformed".
  static Result<Certificate> from_der(ByteView der);
  /// All certificates of a PEM file, at least one. "certificate_malformed".
  static Result<std::vector<Certificate>> all_from_pem(std::string_view pem);

  Bytes der() const;
  /// The subject's common name, or "".
  std::string common_name() const;
  /// The value of an extension by its dotted number; nothing if it is missing or stands there twice.
  std::optional<Bytes> extension(const char* oid) const;
  /// ECDSA P-384 with SHA-384 over `message`; `r` and `s` are little-endian. False also where the key is another one.
  bool signed_p384(ByteView message, ByteView r, ByteView s) const;
  x509_st* get() const { return x509_.get(); }

 private:
  struct Free {
    void operator()(x509_st* x) const;
  };
  explicit Certificate(x509_st* x) : x509_(x) {}
  std::unique_ptr<x509_st, Free> x509_;
};

/// A list of revoked certificates.
class RevocationList {
 public:
  static Result<RevocationList> parse(std::string_view bytes);  ///< "certificate_malformed"
  /// All lists of a PEM file, at least one. "certificate_malformed".
  static Result<std::vector<RevocationList>> all_from_pem(std::string_view pem);
  X509_crl_st* get() const { return crl_.get(); }

 private:
  struct Free {
    void operator()(X509_crl_st* x) const;
  };
  explicit RevocationList(X509_crl_st* x) : crl_(x) {}
  std::unique_ptr<X509_crl_st, Free> crl_;
};

/// What the operator trusts.
struct SnpTrust {
  std::vector<Certificate> roots;           ///< AMD root keys (ARK), one for each line of processors
  std::vector<RevocationList> revocations;  ///< by the roots; where one is given it must be current
};

/// leaf ← intermediate (ASK, ASVK) ← a pinned root: RSA-4096 with PSS and SHA-384, in force at `now`, not revoked.
/// Refused by "snp_chain", "snp_certificate_time", "snp_revocation".
Verified<void> verify_snp_chain(const Certificate& leaf, const Certificate& intermediate, const SnpTrust& trust,
                                UnixMs now);

/// What AMD says of the key in the extensions of a VCEK or VLEK certificate.
struct SnpEndorsement {
  SnpProduct product = SnpProduct::kMilan;
  SnpTcb tcb;
  std::optional<Bytes> hw_id;  ///< VCEK only
  SnpKey key = SnpKey::kVcek;
};
/// Refused by "snp_certificate_form".
Verified<SnpEndorsement> snp_endorsement(const Certificate& leaf);

}  // namespace tb::attest
