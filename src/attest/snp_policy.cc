// One rule, one check, one id. The order is from what can never be mended to what a new image or firmware mends.
#include "attest/snp_policy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "attest/policy_reader.h"

namespace tb::attest {
namespace {

bool holds(const auto& list, const auto& value) {
  return std::ranges::find(list, value) != list.end();
}

/// The field of the report is one of `allowed`, or any where nothing is listed.
Verified<void> listed(std::string_view id, std::string_view mend, const std::vector<std::string>& allowed,
                      ByteView field) {
  const std::string seen = to_hex(field);
  if (allowed.empty() || holds(allowed, seen)) return {};
  return refuse(id, std::string(mend), fmt::format("{}", fmt::join(allowed, ",")), seen);
}

Verified<void> flag(bool ok, std::string_view id, std::string_view mend, std::string_view expected,
                    std::string_view seen) {
  if (ok) return {};
  return refuse(id, std::string(mend), std::string(expected), std::string(seen));
}

SnpTcb tcb_from(const Json& json) {
  const PolicyReader reader(json, "attestation_policy.minimum_tcb");
  reader.only({"bootloader", "tee", "snp", "microcode", "fmc"});
  const auto level = [&](std::string_view name) { return static_cast<std::uint8_t>(reader.integer(name, 255, 0)); };
  return {.bootloader = level("bootloader"),
          .tee = level("tee"),
          .snp = level("snp"),
          .microcode = level("microcode"),
          .fmc = level("fmc")};
}

}  // namespace

SnpPolicy SnpPolicy::parse(const Json& json) {
  const PolicyReader reader(json, "attestation_policy");
  reader.only({"measurements", "id_key_digests", "author_key_digests", "host_data", "chip_ids", "products", "keys",
               "vmpls", "minimum_tcb", "minimum_guest_svn", "allow_smt", "allow_migration_agent",
               "require_single_socket", "require_alias_check"});
  SnpPolicy out;
  out.measurements = reader.digests("measurements", 48);
  out.id_key_digests = reader.digests("id_key_digests", 48);
  if (out.measurements.empty() && out.id_key_digests.empty()) {
    reader.refuse("measurements", "is missing: list launch measurements, or id_key_digests of who may sign them");
  }
  out.author_key_digests = reader.digests("author_key_digests", 48);
  out.host_data = reader.digests("host_data", 32);
  out.chip_ids = reader.digests("chip_ids", 64);
  for (const std::string& name : reader.texts("products")) {
    const auto product = snp_product_from(name);
    if (!product || snp_product_name(*product) != name) reader.refuse("products", "must list Milan, Genoa or Turin");
    out.products.push_back(*product);
  }
  if (const auto keys = reader.texts("keys"); !keys.empty()) {
    out.keys.clear();
    for (const std::string& name : keys) {
      if (name != "vcek" && name != "vlek") reader.refuse("keys", "must list vcek or vlek");
      out.keys.push_back(name == "vcek" ? SnpKey::kVcek : SnpKey::kVlek);
    }
  }
  if (auto vmpls = reader.integers("vmpls", 3); !vmpls.empty()) out.vmpls = std::move(vmpls);
  out.minimum_tcb = tcb_from(reader.object("minimum_tcb"));
  out.minimum_guest_svn = reader.integer("minimum_guest_svn", 0xFFFFFFFF, 0);
  out.allow_smt = reader.boolean("allow_smt", false);
  out.allow_migration_agent = reader.boolean("allow_migration_agent", false);
  out.require_single_socket = reader.boolean("require_single_socket", false);
  out.require_alias_check = reader.boolean("require_alias_check", false);
  return out;
}

void validate_snp_policy(const Json& json) {
  (void)SnpPolicy::parse(json);
}

Verified<void> check_snp_policy(const SnpPolicy& policy, const SnpReport& report, SnpProduct product) {
  TRY(flag(!report.debug_allowed(), "snp_debug", "start the machine with a guest policy that forbids debugging", "0",
           "1"));
  TRY(flag(policy.allow_migration_agent || !report.migration_agent_allowed(), "snp_migration_agent",
           "start the machine with a guest policy that forbids a migration agent", "0", "1"));
  TRY(flag(policy.allow_smt || !report.smt_allowed(), "snp_smt",
           "start the machine with a guest policy that forbids SMT, or ask the provider to allow it", "0", "1"));
  TRY(flag(!policy.require_single_socket || report.single_socket(), "snp_single_socket",
           "start the machine with a guest policy for one socket", "1", "0"));
  TRY(flag(!policy.require_alias_check || report.alias_check_complete(), "snp_alias_check",
           "update the host's firmware to one that checks memory for aliases", "1", "0"));
  TRY(flag(policy.products.empty() || holds(policy.products, product), "snp_product_allowed",
           "run on a processor of a line that the contract names", "", snp_product_name(product)));
  TRY(flag(holds(policy.keys, report.key), "snp_key_allowed",
           "have the report signed by the other kind of key (VCEK, VLEK), or ask the provider to allow this one", "",
           report.key == SnpKey::kVcek ? "vcek" : "vlek"));
  TRY(flag(holds(policy.vmpls, std::int64_t{report.vmpl}), "snp_vmpl",
           "ask for the report at an allowed privilege level", fmt::format("{}", fmt::join(policy.vmpls, ",")),
           std::to_string(report.vmpl)));
  // A masked report shows zeros: it cannot be held against a list.
  TRY(listed("snp_chip_allowed", "run on a machine that the contract names, with its chip id not masked",
             policy.chip_ids, report.chip_id));
  TRY(listed("snp_measurement",
             "start the machine image that the contract names: its launch measurement is another one",
             policy.measurements, report.measurement));
  TRY(listed("snp_host_data", "start the machine with the host data that the contract names", policy.host_data,
             report.host_data));
  TRY(listed("snp_id_key", "start the machine with an id block signed by a key that the contract names",
             policy.id_key_digests, report.id_key_digest));
  TRY(flag(policy.author_key_digests.empty() || report.author_key_present(), "snp_author_key",
           "start the machine with an id block that names an author key", "1", "0"));
  TRY(listed("snp_author_key", "start the machine with an id block whose author key the contract names",
             policy.author_key_digests, report.author_key_digest));
  TRY(flag(std::int64_t{report.guest_svn} >= policy.minimum_guest_svn, "snp_guest_svn", "start a newer machine image",
           std::to_string(policy.minimum_guest_svn), std::to_string(report.guest_svn)));
  for (const auto& [id, raw] :
       {std::pair{"snp_tcb", report.reported_tcb}, std::pair{"snp_launch_tcb", report.launch_tcb}}) {
    const SnpTcb tcb = snp_tcb(raw, product);
    TRY(flag(tcb.reaches(policy.minimum_tcb), id,
             "update the host's firmware and microcode, and start the machine again",
             policy.minimum_tcb.to_json().dump(), tcb.to_json().dump()));
  }
  return {};
}

}  // namespace tb::attest
