// Shared access signatures that read one blob (learn.microsoft.com: create-service-sas, create-user-delegation-sas).
// Pure.
//
// One version for both forms, 2022-11-02: every cloud and the emulator know it, and nothing that came later is of use
// for one read. No start time: a signature is good at once, also where this machine's clock is ahead.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/secret.h"

namespace tb::azure {

inline constexpr const char* kServiceVersion = "2022-11-02";

struct BlobPath {
  std::string account;
  std::string container;
  std::string blob;  ///< "prefix/asset/model.tbenc": letters, digits and -_./ only, so that it needs no escapes
};

struct SasTerms {
  UnixMs expires_at = 0;   ///< cut to a second
  bool https_only = true;  ///< false for an emulator on loopback
};

/// What signs in place of the account's key, for at most 7 days: got with an OAuth token, revoked with its rights.
struct DelegationKey {
  std::string oid;      ///< skoid: who asked for it
  std::string tid;      ///< sktid
  std::string start;    ///< skt, as the service wrote it
  std::string expiry;   ///< ske
  std::string service;  ///< sks
  std::string version;  ///< skv
  UnixMs expires_at = 0;
  SecretString value;  ///< the key's bytes
};

/// 16 fields (sv 2020-12-06 and later).
std::string service_string_to_sign(const BlobPath& blob, const SasTerms& terms);
/// 24 fields (sv 2020-12-06 to 2025-05-05).
std::string delegation_string_to_sign(const BlobPath& blob, const SasTerms& terms, const DelegationKey& key);

/// The query, without '?'. `account_key`: its bytes, not their base64.
SecretString service_sas(const BlobPath& blob, const SasTerms& terms, const SecretString& account_key);
SecretString delegation_sas(const BlobPath& blob, const SasTerms& terms, const DelegationKey& key);

/// Percent-encoded but for RFC 3986's unreserved characters.
std::string escaped(std::string_view text);

}  // namespace tb::azure
