// The kernel's door to the firmware. The kernel encrypts and counts the messages; it gives the answer as the firmware
// sent it, and the certificates as the host did.
#include <fcntl.h>
#include <linux/sev-guest.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "base/fs.h"
#include "sentinel/snp_prover.h"

namespace tb::sentinel {
namespace {

constexpr const char* kDevice = "/dev/sev-guest";
/// SEV_FW_BLOB_MAX_SIZE: the most that the kernel takes, and a multiple of its pages.
constexpr std::uint32_t kTableBytes = 0x4000;

class SevGuestDevice : public SnpDevice {
 public:
  Answer extended_report(const attest::SnpReportData& report_data) override {
    const Fd fd(open(kDevice, O_RDWR | O_CLOEXEC));
    if (!fd) {
      throw Error("snp_unavailable", std::string(kDevice) + " cannot be opened: " + std::strerror(errno));
    }
    Answer out{.response = Bytes(sizeof(snp_report_resp)), .table = Bytes(kTableBytes)};
    snp_ext_report_req asked{};
    std::memcpy(asked.data.user_data, report_data.data(), report_data.size());
    asked.certs_address = reinterpret_cast<std::uintptr_t>(out.table.data());
    asked.certs_len = kTableBytes;
    snp_guest_request_ioctl request{};
    request.msg_version = 1;
    request.req_data = reinterpret_cast<std::uintptr_t>(&asked);
    request.resp_data = reinterpret_cast<std::uintptr_t>(out.response.data());
    int failed = 0;
    do {
      failed = ioctl(fd.get(), SNP_GET_EXT_REPORT, &request);
    } while (failed != 0 && errno == EINTR);
    if (failed != 0) {
      const std::string why = std::strerror(errno);
      throw Error("evidence_unavailable", "the firmware gave no report: " + why + ", firmware " +
                                              std::to_string(request.fw_error) + ", host " +
                                              std::to_string(request.vmm_error));
    }
    return out;
  }
};

}  // namespace

std::unique_ptr<SnpDevice> sev_guest_device() {
  return std::make_unique<SevGuestDevice>();
}

}  // namespace tb::sentinel
