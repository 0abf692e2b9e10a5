// What a contract may ask of an SEV-SNP machine: `attestation_policy` of `attestation: snp`
// (docs/attestation-policies.md has the table). What is not said is the strict choice.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attest/snp_report.h"

namespace tb::attest {

struct SnpPolicy {
  std::vector<std::string> measurements;        ///< lower hex, 48 bytes; empty: any
  std::vector<std::string> id_key_digests;      ///< 48 bytes; empty: any. At least one of the two lists is given
  std::vector<std::string> author_key_digests;  ///< 48 bytes; empty: any
  std::vector<std::string> host_data;           ///< 32 bytes; empty: any
  std::vector<std::string> chip_ids;            ///< 64 bytes; empty: any
  std::vector<SnpProduct> products;             ///< empty: any whose root is pinned
  std::vector<SnpKey> keys = {SnpKey::kVcek};   ///< kinds of signing keys
  std::vector<std::int64_t> vmpls = {0};
  SnpTcb minimum_tcb;
  std::int64_t minimum_guest_svn = 0;
  bool allow_smt = false;
  bool allow_migration_agent = false;
  bool require_single_socket = false;
  bool require_alias_check = false;

  /// Throws "contract_invalid" naming the field; unknown fields are refused.
  static SnpPolicy parse(const Json& json);
};

/// What a handler asks when a contract is made or changed. Throws as SnpPolicy::parse.
void validate_snp_policy(const Json& json);

/// Each rule is one check; debugging is never allowed. `product` is the one that the certificate names.
Verified<void> check_snp_policy(const SnpPolicy& policy, const SnpReport& report, SnpProduct product);

}  // namespace tb::attest
