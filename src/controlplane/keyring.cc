// Wrapping and unwrapping, and the first start.
#include "controlplane/keyring.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace tb::controlplane {
namespace {

constexpr std::string_view kIdentity = "identity";
constexpr std::string_view kWrapping = "wrapping";
constexpr std::string_view kUrls = "urls";

jose::PublicKey public_key_of(const store::OwnKey& own) {
  return jose::PublicKey::from_jwk(value_or_throw(Json::parse(as_text(own.public_part))));
}

/// The first is named `wrapping`; a later one `wrapping/` and when it was made, so that names are in that order.
WrappingKey wrapping_key_of(const store::OwnKey& own) {
  WrappingKey out{.key = public_key_of(own)};
  const std::string_view made = std::string_view(own.name).substr(std::min(kWrapping.size() + 1, own.name.size()));
  std::from_chars(made.data(), made.data() + made.size(), out.made_at);
  return out;
}

store::Event event_of(std::string type, std::string_view kid) {
  return {.type = std::move(type), .tenant = "", .actor = "console", .subject = std::string(kid)};
}

}  // namespace

Keyring::Keyring(std::unique_ptr<Kek> kek, store::Store& store)
    : Keyring(std::make_unique<KekSet>(std::move(kek)), store) {}

Keyring::Keyring(std::unique_ptr<KekSet> keks, store::Store& store) : store_(&store), keks_(std::move(keks)) {
  for (const auto& id : store.kek_ids()) keks_->of(id);
  const auto own = [&](std::string_view name_view, auto&& make) {
    const std::string name(name_view);
    auto found = store.find_own_key(name);
    return found ? std::move(*found) : store.add_own_key(make(name));
  };
  const auto random_own = [&](const std::string& name) {
    return store::OwnKey{.name = name, .key = wrap_own(name, random_key()), .public_part = {}};
  };
  identity_ = std::make_unique<Ed25519PrivateKey>(unwrap_own(own(kIdentity, random_own)));
  url_key_ = unwrap_own(own(kUrls, random_own));
  url_kid_ = to_hex(hmac_sha256(url_key_.reveal(), as_bytes("trustbridge url kid v1"))).substr(0, 8);

  if (store.list_own_keys(std::string(kWrapping)).empty())
    own(kWrapping, [&](auto& name) { return new_wrapping_key(name); });
  // A row that was changed is a fault to start with, not one for the day on which it is asked for.
  for (const auto& key : store.list_own_keys(std::string(kWrapping))) open_wrapping_key(key);
}

store::OwnKey Keyring::new_wrapping_key(const std::string& name) const {
  const auto key = jose::PrivateKey::generate();
  const std::string jwk = key.public_key().to_jwk().dump();
  const ByteView bytes = as_bytes(jwk);
  return {.name = name, .key = wrap_own(name, key.scalar()), .public_part = Bytes(bytes.begin(), bytes.end())};
}

jose::PrivateKey Keyring::open_wrapping_key(const store::OwnKey& own) const {
  return jose::PrivateKey::from_scalar(public_key_of(own), unwrap_own(own));
}

std::vector<WrappingKey> Keyring::wrapping_keys() const {
  std::vector<WrappingKey> out;
  for (const auto& own : store_->list_own_keys(std::string(kWrapping))) out.push_back(wrapping_key_of(own));
  std::ranges::reverse(out);
  return out;
}

std::optional<jose::PrivateKey> Keyring::wrapping_key(std::string_view kid) const {
  for (const auto& own : store_->list_own_keys(std::string(kWrapping))) {
    if (public_key_of(own).thumbprint() == kid) return open_wrapping_key(own);
  }
  return std::nullopt;
}

WrappingKey Keyring::add_wrapping_key(UnixMs now) const {
  const store::OwnKey own = new_wrapping_key(fmt::format("{}/{:013}", kWrapping, now));
  WrappingKey added = wrapping_key_of(own);
  if (!store_->add_own_key(own, event_of("wrapping_key_added", added.key.thumbprint()))) {
    throw Error("database_busy", "another wrapping key was made at the same time");
  }
  return added;
}

void Keyring::retire_wrapping_key(std::string_view kid) const {
  for (const auto& own : store_->list_own_keys(std::string(kWrapping))) {
    if (public_key_of(own).thumbprint() != kid) continue;
    if (store_->retire_own_key(std::string(kWrapping), own.name, event_of("wrapping_key_retired", kid))) return;
    throw Error("wrapping_key_last", "the last wrapping key cannot be retired");
  }
  throw Error("not_found", "there is no wrapping key " + std::string(kid));
}

store::WrappedKey Keyring::wrap(const std::string& tenant, const std::string& asset_id,
                                const std::string& sha256_ciphertext, const FileKey& key) const {
  const Kek& kek = keks_->current();
  return {.kek_id = kek.id(), .wrapped = kek.wrap(asset_key_context(tenant, asset_id, sha256_ciphertext), key)};
}

FileKey Keyring::unwrap(const std::string& tenant, const std::string& asset_id, const std::string& sha256_ciphertext,
                        const store::WrappedKey& wrapped) const {
  return keks_->of(wrapped.kek_id).unwrap(asset_key_context(tenant, asset_id, sha256_ciphertext), wrapped.wrapped);
}

store::WrappedKey Keyring::wrap_own(const std::string& name, const Secret<32>& key) const {
  return {.kek_id = keks_->current().id(), .wrapped = keks_->current().wrap(own_key_context(name), key)};
}

Secret<32> Keyring::unwrap_own(const store::OwnKey& own) const {
  return keks_->of(own.key.kek_id).unwrap(own_key_context(own.name), own.key.wrapped);
}

}  // namespace tb::controlplane
