// Anybody can send a token with a `kid` of his own making: fetches are therefore bounded by time, not by tokens. After
// a fetch that failed an unknown key is "not known now", never "refused": issuers rotate keys.
#include "attest/issuer_keys.h"

namespace tb::attest {

void IssuerKeys::fetch(UnixMs now) {
  if (!fetch_ || (tried_at_ && now - *tried_at_ < times_.between_fetches_ms)) return;
  tried_at_ = now;
  failed_ = true;
  try {
    keys_ = jose::RsaKeySet::parse(fetch_());
  } catch (const Error&) {
    return;
  }
  fetched_at_ = now;
  failed_ = false;
}

std::optional<jose::RsaPublicKey> IssuerKeys::find(std::string_view kid, UnixMs now) {
  const std::scoped_lock lock(mutex_);
  const auto is_old = [&] { return fetch_ && now - fetched_at_ >= times_.keep_ms; };
  if (!keys_ || is_old()) fetch(now);
  if (!keys_ || is_old()) {
    throw Error("attestation_unavailable", "the keys of a token issuer could not be fetched");
  }
  const jose::RsaPublicKey* key = keys_->find(kid);
  if (key == nullptr) {
    fetch(now);
    key = keys_->find(kid);
  }
  if (key != nullptr) return *key;
  if (failed_) throw Error("attestation_unavailable", "the keys of a token issuer could not be fetched");
  return std::nullopt;
}

}  // namespace tb::attest
