#include "sentinel/snp_prover.h"

#include "attest/snp_extended_report.h"
#include "base/fs.h"

namespace tb::sentinel {

SnpProver::SnpProver(std::unique_ptr<SnpDevice> device, std::string certificates_path)
    : device_(std::move(device)), certificates_path_(std::move(certificates_path)) {}

attest::SnpEvidence SnpProver::evidence_over(const Digest& digest) {
  // Read each time: a certificate is for one level of the firmware, and is replaced after an update of it.
  std::vector<attest::Certificate> at_hand;
  if (!certificates_path_.empty()) {
    at_hand = value_or_throw(attest::Certificate::all_from_pem(value_or_throw(read_small_file(certificates_path_))));
  }
  const auto [response, table] = device_->extended_report(attest::snp_report_data(digest));
  return value_or_throw(attest::read_extended_report(response, table, at_hand));
}

Json SnpProver::prove(const EvidenceTask& task, std::stop_token) {
  return evidence_over(task.digest).to_json();
}

Json SnpProver::report() {
  const auto evidence = evidence_over({});
  const auto report = attest::parse_snp_report(evidence.report);
  const auto leaf = value_or_throw(attest::Certificate::from_der(evidence.leaf));
  const auto endorsement = attest::snp_endorsement(leaf);
  if (!report || !endorsement) throw Error("evidence_malformed", "the report and its certificate cannot be read");
  return attest::snp_facts(*report, endorsement->product);
}

}  // namespace tb::sentinel
