#include "cli/contract_flags.h"

namespace tb::cli {

void add_term_flags(Command command, TermFlags& flags) {
  ContractFields& f = flags.fields;
  const auto one = [&](const char* name, auto& value, const char* what, const char* type) {
    command.add_option(name, value, what).type_name(type).group("Terms");
  };
  const auto many = [&](const char* name, std::vector<std::string>& values, const char* what, const char* type) {
    command.add_option(name, values, what).type_name(type).group("Terms").takes_one();
  };
  one("--consumer", f.consumer, "who may run it", "NAME");
  many("--asset-id", f.asset_ids, "an asset that it covers; may be repeated", "ID");
  one("--not-before", f.not_before, "when it starts: RFC 3339, or from now as 2h [now]", "TIME");
  one("--not-after", f.not_after, "when it ends: RFC 3339, or from now as 30d", "TIME");
  one("--max-seats", f.max_seats, "sentinels at one time [1]", "N");
  many("--hardware", f.hardware, "any, pin_first, or a hardware id; ids may be repeated [any]", "MODE");
  one("--attestation", f.attestation, "none, tpm, snp or token [none]", "KIND");
  one("--attestation-policy", f.attestation_policy, "file with the expected values, JSON", "FILE");
  one("--key-release", f.key_release, "wrapped or plain [wrapped]", "KIND");
  one("--lease-seconds", f.lease_seconds, "how long a lease lasts without renewal [300]", "N");
  one("--offline-grace-seconds", f.offline_grace_seconds, "how long it runs on while we cannot be reached [0]", "N");
  one("--quotas", f.quotas, "file with the quotas, JSON", "FILE");
  one("--metering", f.metering, "file with what is counted, JSON", "FILE");
  one("--marketplace", f.marketplace, "file with where the control plane reports usage to, JSON", "FILE");
  const Option on = command.add_flag("--allow-finetune", flags.finetune, "let the consumer train adapters");
  const Option off = command.add_flag("--no-allow-finetune", flags.no_finetune, "do not let the consumer train [this]");
  on.group("Terms").excludes(off);
  off.group("Terms");
  many("--allowed-path", f.allowed_paths, "an HTTP path that callers may use; may be repeated", "HTTP-ROUTE");
  one("--runtime-isolation", f.runtime_isolation, "none or required", "KIND");
  one("--authentication", f.authentication, "token, mtls or none [token]", "KIND");
  many("--client-certificate", f.client_certificates,
       "SHA-256 fingerprint of a certificate that sentinels show, for mtls; may be repeated", "HASH");
  one("--min-client-version", f.min_client_version, "oldest sentinel that may run it, as 0.2.0 [any]", "VERSION");
  one("--enforcement", f.enforcement, "none, warn, throttle or drain: hold back short of suspending [none]", "GRADE");
  one("--notice", f.notice, "what the consumer is told with it", "TEXT");
  one("--throttle-requests-per-minute", f.throttle_requests_per_minute, "of a whole sentinel, while throttled [60]",
      "N");
}

Json terms_json(const TermFlags& flags, UnixMs now) {
  ContractFields fields = flags.fields;
  if (flags.finetune || flags.no_finetune) fields.allow_finetune = flags.finetune;
  return fields_json(fields, now);
}

}  // namespace tb::cli
