// Sends usage to the marketplace's metering API, as the publisher's or the managed application's identity.
#pragma once

#include <mutex>
#include <optional>

#include "azure/credential.h"
#include "azure/marketplace_wire.h"
#include "http/client.h"
#include "meter/hour_outbox.h"

namespace tb::azure {

/// What a token for metering is asked for.
inline constexpr std::string_view kMeteringAudience = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";

class Marketplace final : public meter::EventSink {
 public:
  /// `endpoint`: an origin without a slash at its end. `credential` is no account key.
  Marketplace(std::string endpoint, MarketplaceResource resource, Credential credential, const std::string& ca_path);

  /// From now on; not while something is under way.
  void report_for(MarketplaceResource resource) { resource_ = std::move(resource); }
  std::expected<std::vector<meter::EventAnswer>, Trouble> send(std::span<const meter::HourEvent> events) override;
  meter::EventSum submitted(const std::string& dimension, UnixMs day) override;
  /// The marketplace's clock less our boot clock, by the newest answer; nothing before the first.
  std::optional<std::int64_t> clock_offset_ms() const;
  void use_stop(std::stop_token stop) override { stop_ = std::move(stop); }

 private:
  void need_token();
  http::ClientResponse ask(http::ClientRequest request);

  std::string endpoint_;
  MarketplaceResource resource_;
  TokenSource tokens_;
  http::Client client_;
  std::optional<SecretString> token_;
  std::int64_t token_until_boot_ms_ = 0;
  std::stop_token stop_;
  mutable std::mutex mutex_;
  std::optional<std::int64_t> offset_ms_;
};

}  // namespace tb::azure
