#include "sentinel/token_keys.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "http/client.h"

namespace tb::sentinel {

TokenKeys::TokenKeys(Fetch fetch, Times times, obs::Log log)
    : fetch_(std::move(fetch)), times_(times), log_(std::move(log)) {
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

TokenKeys::~TokenKeys() = default;

std::shared_ptr<const jose::VerifyKeySet> TokenKeys::current() const {
  const std::scoped_lock lock(mutex_);
  return keys_;
}

void TokenKeys::ask_for_unknown() {
  const std::scoped_lock lock(mutex_);
  if (std::exchange(unknown_seen_, true)) return;
  wake_.notify_all();
}

void TokenKeys::fetch_once() {
  try {
    std::string text = fetch_();
    if (text != text_ || !current()) {
      auto keys = std::make_shared<const jose::VerifyKeySet>(jose::VerifyKeySet::parse(text));
      log_.info("keys of the token issuer", {{"keys", std::to_string(keys->size())}});
      const std::scoped_lock lock(mutex_);
      keys_ = std::move(keys);
    }
    text_ = std::move(text);
    fetched_at_ms_ = boot_ms_now();
    if (std::exchange(failures_, 0) > 0) log_.info("the keys of the token issuer can be had again");
  } catch (const Error& error) {
    // Once for each outage: an issuer that is away for hours must not fill the log.
    if (failures_++ == 0) {
      log_.warn("the keys of the token issuer cannot be had: those in force are kept for a day",
                {{"reason", std::string(error.reason)}, {"story", error.story()}});
    }
    if (current() && boot_ms_now() - fetched_at_ms_ >= times_.keep_ms) {
      log_.error("the keys of the token issuer are too old: no token lets in");
      const std::scoped_lock lock(mutex_);
      keys_ = nullptr;
    }
  }
}

void TokenKeys::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    fetch_once();
    std::int64_t wait_ms = times_.refresh_ms;
    if (failures_ > 0) {
      wait_ms = std::min(times_.retry_most_ms, times_.retry_first_ms << std::min(failures_ - 1, 16));
    }
    const std::int64_t at = boot_ms_now();
    std::unique_lock lock(mutex_);
    unknown_seen_ = false;
    if (wake_.wait_for(lock, stop, std::chrono::milliseconds(wait_ms), [this] { return unknown_seen_; })) {
      // Anybody can send a token with a `kid` of his own making: fetches are bounded by time, not by tokens.
      const std::int64_t earliest = at + std::min(times_.between_unknown_ms, wait_ms) - boot_ms_now();
      if (earliest > 0) wake_.wait_for(lock, stop, std::chrono::milliseconds(earliest), [] { return false; });
    }
  }
}

TokenKeys::Fetch fetch_keys_from(const std::string& place, const std::string& ca_path) {
  if (place.starts_with('/')) {
    return [place] { return value_or_throw(read_small_file(place, jose::kMaxKeySetBytes)); };
  }
  auto client =
      std::make_shared<http::Client>(http::ClientConfig{.ca_path = ca_path, .user_agent = "trustbridge-sentinel"});
  return [place, client] {
    http::ClientRequest request;
    request.url = SecretUrl(place);
    request.headers.set("Accept", "application/json");
    request.max_answer_bytes = jose::kMaxKeySetBytes;
    request.total_timeout_ms = 10'000;
    const http::ClientResponse answer = client->send(request);
    if (answer.status != 200) {
      throw Error("network_unreachable", "the address of the key set answers " + std::to_string(answer.status));
    }
    return answer.body;
  };
}

TokenKeys::Times times_for(const std::string& place) {
  if (place.starts_with('/')) return {.refresh_ms = 2'000, .retry_most_ms = 2'000, .between_unknown_ms = 2'000};
  return {};
}

}  // namespace tb::sentinel
