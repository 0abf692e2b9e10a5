// Evidence of a confidential machine with AMD SEV-SNP: the firmware's own report over the digest of the request, with
// the certificates that the host gives. The device stands behind a small interface, as no test has such a machine.
#pragma once

#include <memory>
#include <string>

#include "attest/snp_verify.h"
#include "sentinel/evidence.h"

namespace tb::sentinel {

class SnpDevice {
 public:
  struct Answer {
    Bytes response;  ///< MSG_REPORT_RSP (AMD 56860), with what follows it
    Bytes table;     ///< the host's certificates; empty or zeros where it gives none
  };
  virtual ~SnpDevice() = default;
  /// Throws "snp_unavailable" (there is no such device), "evidence_unavailable" (it did not answer: worth a retry).
  virtual Answer extended_report(const attest::SnpReportData& report_data) = 0;
};

/// /dev/sev-guest of Linux, by the ioctl SNP_GET_EXT_REPORT; opened for each report.
std::unique_ptr<SnpDevice> sev_guest_device();

/// Throws what the device throws, "evidence_malformed", and "certificate_malformed" for a file of certificates that is none.
class SnpProver : public Prover {
 public:
  /// `certificates_path`: PEM, for what the host does not give; empty for none.
  SnpProver(std::unique_ptr<SnpDevice> device, std::string certificates_path);

  Json prove(const EvidenceTask& task, std::stop_token stop) override;
  Json report() override;

 private:
  attest::SnpEvidence evidence_over(const Digest& digest);

  std::unique_ptr<SnpDevice> device_;
  std::string certificates_path_;
};

}  // namespace tb::sentinel
