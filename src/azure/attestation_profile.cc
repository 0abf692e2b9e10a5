// Claim names are those of the service's claim sets (x-ms-*). The launch measurement changes with the platform's own
// firmware; the id key digest is the slower-moving value.
#include "azure/attestation_profile.h"

#include <algorithm>

#include "attest/policy_reader.h"

namespace tb::azure {
namespace {

using attest::ClaimRule;

const std::string kTee = "x-ms-isolation-tee";

std::string snp(std::string_view name) {
  return "x-ms-sevsnpvm-" + std::string(name);
}

ClaimRule equals(std::string_view id, std::vector<std::string> path, Json value, std::string mend) {
  return {.id = id, .path = std::move(path), .one_of = {std::move(value)}, .mend = std::move(mend)};
}

void add_set(std::vector<ClaimRule>& rules, std::string_view id, std::vector<std::string> path,
             const std::vector<std::string>& allowed, std::string mend) {
  if (allowed.empty()) return;
  ClaimRule rule{.id = id, .path = std::move(path), .mend = std::move(mend)};
  for (const std::string& value : allowed) rule.one_of.emplace_back(value);
  rules.push_back(std::move(rule));
}

void add_always(std::vector<ClaimRule>& rules) {
  rules.push_back(equals("token_version", {"x-ms-ver"}, "1.0", "fetch the token from a current attestation service"));
  rules.push_back(equals("token_machine_kind", {"x-ms-attestation-type"}, "azurevm",
                         "have the virtual machine attested, not an enclave or a container in it"));
  rules.push_back(equals("token_secure_boot", {"secureboot"}, true, "start the machine with secure boot on"));
  rules.push_back(equals("token_debuggers", {"x-ms-azurevm-debuggersdisabled"}, true,
                         "start the machine without kernel debuggers"));
  rules.push_back(equals("token_tee_kind", {kTee, "x-ms-attestation-type"}, "sevsnpvm",
                         "run on a confidential machine with AMD SEV-SNP"));
  rules.push_back(equals("token_compliance", {kTee, "x-ms-compliance-status"}, "azure-compliant-cvm",
                         "run on a machine that the attestation service finds compliant"));
  rules.push_back(equals("token_debuggable", {kTee, snp("is-debuggable")}, false,
                         "run on a machine whose memory cannot be read by a debugger"));
  rules.push_back(equals("token_migration", {kTee, snp("migration-allowed")}, false,
                         "run on a machine that has no migration agent"));
}

void add_minimum_svn(std::vector<ClaimRule>& rules, const Json& options) {
  const attest::PolicyReader reader(options, "attestation_policy.options.minimum_svn");
  reader.only({"bootloader", "tee", "snp", "microcode", "guest"});
  constexpr std::pair<std::string_view, std::string_view> kClaims[] = {{"bootloader", "bootloader-svn"},
                                                                       {"tee", "tee-svn"},
                                                                       {"snp", "snpfw-svn"},
                                                                       {"microcode", "microcode-svn"},
                                                                       {"guest", "guestsvn"}};
  for (const auto& [name, claim] : kClaims) {
    if (!reader.has(name)) continue;
    rules.push_back({.id = "token_svn",
                     .path = {kTee, snp(claim)},
                     .at_least = reader.integer(name, 0xFFFFFFFF, 0),
                     .mend = "run on a machine with newer firmware: stop it and start it again on another host"});
  }
}

std::vector<ClaimRule> rules_of(const Json& options) {
  const attest::PolicyReader reader(options, "attestation_policy.options");
  reader.only({"launch_measurements", "id_key_digests", "host_data", "policy_hashes", "vm_ids", "vmpls", "minimum_svn",
               "allow_smt", "allow_console"});
  const auto measurements = reader.digests("launch_measurements", 48);
  const auto id_keys = reader.digests("id_key_digests", 48);
  if (measurements.empty() && id_keys.empty()) {
    reader.refuse("launch_measurements", "is missing: list launch measurements or id_key_digests");
  }
  std::vector<ClaimRule> rules;
  add_always(rules);
  ClaimRule vmpl{
      .id = "token_vmpl", .path = {kTee, snp("vmpl")}, .mend = "run on a machine at an allowed privilege level"};
  for (const std::int64_t level : reader.integers("vmpls", 3)) vmpl.one_of.emplace_back(level);
  if (vmpl.one_of.empty()) vmpl.one_of.emplace_back(std::int64_t{0});
  rules.push_back(std::move(vmpl));
  if (!reader.boolean("allow_smt", false)) {
    rules.push_back(equals("token_smt", {kTee, snp("smt-allowed")}, false,
                           "run on a machine without SMT, or ask the provider to allow it"));
  }
  if (!reader.boolean("allow_console", false)) {
    rules.push_back(equals("token_console", {kTee, "x-ms-runtime", "vm-configuration", "console-enabled"}, false,
                           "turn the machine's serial console off, or ask the provider to allow it"));
  }
  add_set(rules, "token_launch_measurement", {kTee, snp("launchmeasurement")}, measurements,
          "start a machine whose launch measurement the contract names");
  add_set(rules, "token_id_key", {kTee, snp("idkeydigest")}, id_keys,
          "start a machine whose id key the contract names");
  add_set(rules, "token_host_data", {kTee, snp("hostdata")}, reader.digests("host_data", 32),
          "start a machine with the host data that the contract names");
  add_set(rules, "token_policy_hash", {"x-ms-policy-hash"}, reader.texts("policy_hashes", 64),
          "use an attestation provider whose policy the contract names");
  add_set(rules, "token_vm", {"x-ms-azurevm-vmid"}, reader.texts("vm_ids", 64),
          "run on a machine that the contract names");
  add_minimum_svn(rules, reader.object("minimum_svn"));
  return rules;
}

}  // namespace

attest::TokenProfile confidential_vm_profile() {
  return {.binding = {"x-ms-runtime", "client-payload", "nonce"}, .rules = rules_of};
}

}  // namespace tb::azure
