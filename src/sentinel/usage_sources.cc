#include "sentinel/usage_sources.h"

#include <algorithm>
#include <filesystem>

#include "azure/marketplace.h"

namespace tb::sentinel {
namespace {

std::shared_ptr<meter::EventSink> marketplace_of(const Config::Billing& billing, const std::string& ca_path) {
  const auto environment = [](const std::string& name) { return process_environment()(name); };
  auto credential = azure::parse_credential(billing.credential, environment);
  if (!credential || credential->kind == azure::Credential::Kind::kAccountKey) {
    throw Error("config_invalid", "TB_BILLING_CREDENTIAL " +
                                      (credential ? std::string("must be an identity") : credential.error().message));
  }
  return std::make_shared<azure::Marketplace>(billing.endpoint,
                                              azure::MarketplaceResource{.id = billing.resource, .plan = billing.plan},
                                              std::move(*credential), ca_path);
}

}  // namespace

UsageSources usage_sources(const Config& config, Authorizer& authorizer, const proxy::Gate& gate) {
  UsageSources out{.post =
                       [&](const std::string& body, std::stop_token stop) {
                         const auto answer =
                             authorizer.post_as_holder("/api/v1/usage", body, "application/json", std::move(stop));
                         return meter::ReportAnswer{answer.status, answer.body};
                       },
                   .lease_id = [&] { return authorizer.last_lease_id(); },
                   .is_serving = [&] { return gate.door() == proxy::Gate::Door::kOpen; },
                   .clock = [&] { return authorizer.anchored_unix_ms(); },
                   .marketplace = nullptr,
                   .resource = {},
                   .dimensions = {}};
  if (config.billing) {
    out.marketplace = marketplace_of(*config.billing, config.ca_path);
    out.resource = config.billing->resource;
    out.dimensions = config.billing->dimensions;
  }
  return out;
}

int gpus_here() {
  int count = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", ignored)) {
    const std::string name = entry.path().filename();
    const bool numbered = name.starts_with("nvidia") && name.size() > 6 &&
                          std::all_of(name.begin() + 6, name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (numbered) ++count;
  }
  return count;
}

}  // namespace tb::sentinel
