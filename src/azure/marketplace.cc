#include "azure/marketplace.h"

#include <fmt/format.h>

#include "api/usage.h"
#include "azure/sas.h"
#include "base/clock.h"
#include "base/crypto.h"

namespace tb::azure {
namespace {

constexpr std::string_view kApiVersion = "2018-08-31";
constexpr std::int64_t kTotalMs = 30'000;
/// Tokens live for an hour at least; one is asked for again well before.
constexpr std::int64_t kTokenMs = 20 * 60'000;

std::string guid() {
  const std::string hex = sha256_hex(random_token()).substr(0, 32);
  return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4), hex.substr(16, 4),
                     hex.substr(20, 12));
}

bool is_certain_refusal(int status) {
  return status >= 400 && status < 500 && status != 408 && status != 409;
}

}  // namespace

Marketplace::Marketplace(std::string endpoint, MarketplaceResource resource, Credential credential,
                         const std::string& ca_path)
    : endpoint_(std::move(endpoint)),
      resource_(std::move(resource)),
      tokens_(std::move(credential), ca_path,
              {.resource = std::string(kMeteringAudience), .unavailable = "marketplace_unavailable"}),
      client_({.ca_path = ca_path, .user_agent = "trustbridge"}) {}

std::optional<std::int64_t> Marketplace::clock_offset_ms() const {
  const std::scoped_lock lock(mutex_);
  return offset_ms_;
}

void Marketplace::need_token() {
  if (token_ && boot_ms_now() < token_until_boot_ms_) return;
  token_ = tokens_.fetch();
  token_until_boot_ms_ = boot_ms_now() + kTokenMs;
}

http::ClientResponse Marketplace::ask(http::ClientRequest request) {
  request.headers.set("x-ms-requestid", guid());
  request.headers.set("x-ms-correlationid", guid());
  request.headers.set("Accept", "application/json");
  request.bearer = token_->clone();
  request.max_answer_bytes = kMaxMarketplaceAnswerBytes;
  request.total_timeout_ms = kTotalMs;
  request.stop = stop_;
  http::ClientResponse response = client_.send(request);
  if (response.status == 401 || response.status == 403) token_.reset();
  if (const auto date = http::retry_after_ms(response.headers.get("date"), 0)) {
    const std::scoped_lock lock(mutex_);
    offset_ms_ = *date - boot_ms_now();
  }
  return response;
}

std::expected<std::vector<meter::EventAnswer>, meter::EventSink::Trouble> Marketplace::send(
    std::span<const meter::HourEvent> events) {
  http::ClientRequest request;
  request.method = "POST";
  request.url = SecretUrl(fmt::format("{}/api/batchUsageEvent?api-version={}", endpoint_, kApiVersion));
  request.headers.set("Content-Type", "application/json");
  request.body = batch_body(resource_, events);
  http::ClientResponse response;
  try {
    need_token();
  } catch (const Error& error) {
    return std::unexpected(Trouble{.error = error, .certainly_not_taken = true});
  }
  try {
    response = ask(std::move(request));
    if (response.status == 200) return parse_batch_answer(response.body, resource_, events);
  } catch (const Error& error) {
    const bool not_sent = error.reason == "url_refused";
    return std::unexpected(Trouble{.error = Error("marketplace_unavailable", "usage could not be sent", error),
                                   .certainly_not_taken = not_sent});
  }
  Trouble trouble{
      .error = Error(is_certain_refusal(response.status) && response.status != 429 ? "marketplace_refused"
                                                                                   : "marketplace_unavailable",
                     fmt::format("the marketplace answered {}", response.status)),
      .certainly_not_taken = is_certain_refusal(response.status),
      .retry_after_ms = http::retry_after_ms(response.headers.get("retry-after"), unix_ms_now())};
  return std::unexpected(std::move(trouble));
}

meter::EventSum Marketplace::submitted(const std::string& dimension, UnixMs day) {
  need_token();
  http::ClientRequest request;
  request.url = SecretUrl(
      fmt::format("{}/api/usageEvents?api-version={}&usageStartDate={}&UsageEndDate={}&dimension={}", endpoint_,
                  kApiVersion, escaped(to_rfc3339(day)), escaped(to_rfc3339(day + api::kDayMs)), escaped(dimension)));
  const http::ClientResponse response = ask(std::move(request));
  if (response.status != 200) {
    throw Error("marketplace_unavailable", fmt::format("the marketplace's books: {}", response.status));
  }
  return parse_submitted(response.body, resource_, dimension, day);
}

}  // namespace tb::azure
