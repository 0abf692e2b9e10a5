#include "sentinel/proxy/access_filter.h"

#include <algorithm>
#include <array>

#include "base/clock.h"

namespace tb::sentinel::proxy {
namespace {

constexpr Refusal kRefused{401, "invalid_api_key", "a valid API key is needed as Authorization: Bearer"};
constexpr Refusal kLater{503, "try_again", "the credentials cannot be checked at the moment", 1};

bool looks_like_token(std::string_view text) {
  return std::ranges::count(text, '.') == 2;
}

/// What all visits share. On the proxy's loop only, the keys apart.
class Door {
 public:
  Door(Access access, obs::Metrics& metrics) : access_(std::move(access)), metrics_(metrics) {
    if (access_.token_rules) {
      tokens_.emplace(*access_.token_rules, [keys = access_.token_keys] { return keys->current(); });
    }
    for (std::size_t i = 0; i < refused_by_token_.size(); ++i) {
      if (tokens_) refused_by_token_[i] = &refused("token_" + std::string(fault_name(static_cast<TokenFault>(i))));
    }
  }

  std::optional<Refusal> ask(Exchange& exchange) {
    if (access_.everybody) return let_in(exchange, "anonymous", {});
    const std::string_view shown = presented_key(exchange.request);
    obs::Counter* why = &no_credential_;
    Refusal answer = kRefused;
    if (tokens_ && looks_like_token(shown)) {
      const auto user = tokens_->check(shown, unix_ms_now(), boot_ms_now());
      if (user) return let_in(exchange, "jwt:" + (*user)->subject, (*user)->limits);
      why = refused_by_token_[static_cast<std::size_t>(user.error())];
      if (user.error() == TokenFault::kUnknownKey) access_.token_keys->ask_for_unknown();
      if (user.error() == TokenFault::kBusy) answer = kLater;
    } else if (access_.keys != nullptr && !shown.empty()) {
      const auto key = access_.keys->check(shown);
      if (key && key->may_infer) return let_in(exchange, key->id, key->limits);
      why = &wrong_key_;
    }
    const std::string& certified = exchange.peer.certificate_subject;
    if (!certified.empty()) {
      if (std::ranges::find(access_.certificate_subjects, certified) != access_.certificate_subjects.end()) {
        return let_in(exchange, "cert:" + certified, {});
      }
      if (shown.empty()) why = &wrong_certificate_;
    }
    why->add();
    return answer;
  }

 private:
  static std::optional<Refusal> let_in(Exchange& exchange, std::string subject, const KeyLimits& limits) {
    exchange.subject = std::move(subject);
    exchange.limits = limits;
    return std::nullopt;
  }
  obs::Counter& refused(std::string reason) {
    return metrics_.counter("trustbridge_sentinel_access_refused_total", "requests without valid credentials",
                            {{"reason", std::move(reason)}});
  }

  Access access_;
  obs::Metrics& metrics_;
  std::optional<TokenCheck> tokens_;
  obs::Counter& no_credential_ = refused("no_credential");
  obs::Counter& wrong_key_ = refused("key");
  obs::Counter& wrong_certificate_ = refused("certificate");
  std::array<obs::Counter*, static_cast<std::size_t>(TokenFault::kBusy) + 1> refused_by_token_{};
};

class AccessVisit final : public Visit {
 public:
  explicit AccessVisit(Door& door) : door_(door) {}
  std::optional<Refusal> on_request(Exchange& exchange) override { return door_.ask(exchange); }

 private:
  Door& door_;
};

class AccessFilter final : public Filter {
 public:
  AccessFilter(Access access, obs::Metrics& metrics) : door_(std::move(access), metrics) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<AccessVisit>(door_); }

 private:
  Door door_;
};

}  // namespace

std::unique_ptr<Filter> access_filter(Access access, obs::Metrics& metrics) {
  return std::make_unique<AccessFilter>(std::move(access), metrics);
}

}  // namespace tb::sentinel::proxy
