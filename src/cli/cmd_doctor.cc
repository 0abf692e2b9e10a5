// doctor: what this machine can do, and what to change.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/doctor.h"
#include "http/client.h"

namespace tb::cli {
namespace {

constexpr std::int64_t kProbeTimeoutMs = 5'000;
constexpr std::uint64_t kProbeAnswerBytes = 65536;

Finding probe(const Settings& settings) {
  http::ClientConfig config;
  config.ca_path = settings.ca_path;
  config.policy = http::AddressPolicy::configured(settings.allow_insecure_http);
  config.connect_timeout_ms = kProbeTimeoutMs;
  config.stall_timeout_ms = kProbeTimeoutMs;
  std::string base = settings.edc_endpoint;
  while (base.ends_with('/')) base.pop_back();
  try {
    http::Client client(config);
    http::ClientRequest request;
    request.url = SecretUrl(base + "/healthz");
    request.max_answer_bytes = kProbeAnswerBytes;
    const http::ClientResponse answer = client.send(request);
    if (answer.status == 200) return {"endpoint", Health::kOk, base + " answers", ""};
    return {"endpoint", Health::kFault, fmt::format("{} answers {}", base, answer.status),
            "is this the control plane, and is it well?"};
  } catch (const Error& error) {
    return {"endpoint", Health::kFault, fmt::format("{}: {}", base, error.story()),
            error.hint().empty() ? "check the address, the network and the firewall" : error.hint()};
  }
}

void doctor(const SettingFlags& flags, const std::string& tcti, Context& context) {
  std::vector<Finding> findings = examine_machine();
  if (!tcti.empty()) {
    std::erase_if(findings, [](const Finding& finding) { return finding.name == "tpm"; });
    std::ranges::move(examine_tpm(tcti == "default" ? "" : tcti), std::back_inserter(findings));
  }
  std::ranges::move(examine_delivery(deliver::probe_kernel()), std::back_inserter(findings));
  std::ranges::move(examine_confinement(), std::back_inserter(findings));
  const Settings settings = settle(flags);
  if (!settings.edc_endpoint.empty()) {
    findings.push_back(probe(settings));
    if (findings.back().health == Health::kFault) context.exit_status = reason_info("network_unreachable").exit_status;
  }
  context.console.result(to_json(findings), to_text(findings));
}

}  // namespace

void add_doctor(Command root, Context& context) {
  auto flags = std::make_shared<SettingFlags>();
  const Command command = add_command(root, context, "doctor", "say what this machine can do and what to change",
                                      "trustbridge doctor --edc-endpoint https://cp.example.com");
  add_control_plane_flags(command, *flags);
  auto tcti = std::make_shared<std::string>();
  command.add_option("--tpm", *tcti, "ask this TPM, too: its EK hash and PCRs; as tpm2-tss names it, or default")
      .type_name("TCTI");
  command.callback(
      [&context, flags, tcti] { context.action = [&context, flags, tcti] { doctor(*flags, *tcti, context); }; });
}

}  // namespace tb::cli
