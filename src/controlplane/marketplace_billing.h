// The one place of the control plane that chooses a marketplace.
#pragma once

#include <memory>

#include "azure/marketplace.h"
#include "controlplane/billing.h"
#include "controlplane/config.h"

namespace tb::controlplane {

struct MarketplaceBilling {
  MarketplaceBilling(const Config::Marketplace& settings, store::Store& store, obs::Metrics& metrics,
                     const obs::Log& log);

 private:
  azure::Marketplace marketplace_;
  Billing billing_;
};

/// Nothing where none is configured: said in the log if contracts name one all the same. What is passed outlives it.
std::unique_ptr<MarketplaceBilling> marketplace_billing(const Config& config, store::Store& store,
                                                        obs::Metrics& metrics, const obs::Log& log);

}  // namespace tb::controlplane
