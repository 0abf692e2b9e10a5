#include "controlplane/marketplace_billing.h"

#include <algorithm>

namespace tb::controlplane {

MarketplaceBilling::MarketplaceBilling(const Config::Marketplace& settings, store::Store& store, obs::Metrics& metrics,
                                       const obs::Log& log)
    : marketplace_(settings.endpoint, {}, settings.credential, settings.ca_path),
      billing_(Biller(
                   store, settings.tenant,
                   [this](const store::BillingPlace& place) -> meter::EventSink& {
                     marketplace_.report_for({.id = place.resource, .plan = place.plan});
                     return marketplace_;
                   },
                   unix_ms_now, metrics, log),
               log) {}

std::unique_ptr<MarketplaceBilling> marketplace_billing(const Config& config, store::Store& store,
                                                        obs::Metrics& metrics, const obs::Log& log) {
  const auto accounts = store.billing_accounts();
  const std::string tenant = config.marketplace ? config.marketplace->tenant : "";
  const auto orphans = std::ranges::count_if(accounts, [&](const auto& one) { return one.place.tenant != tenant; });
  if (orphans > 0) {
    log.warn("contracts name a marketplace that this control plane does not report to: see TB_CP_MARKETPLACE_TENANT",
             {{"contracts", static_cast<std::int64_t>(orphans)}});
  }
  if (!config.marketplace) return nullptr;
  return std::make_unique<MarketplaceBilling>(*config.marketplace, store, metrics, log);
}

}  // namespace tb::controlplane
