// Wrapping and unwrapping, and the first start.
#include "controlplane/keyring.h"

namespace tb::controlplane {
namespace {

constexpr std::string_view kIdentity = "identity";
constexpr std::string_view kWrapping = "wrapping";
constexpr std::string_view kUrls = "urls";

}  // namespace

Keyring::Keyring(std::unique_ptr<Kek> kek, store::Store& store)
    : Keyring(std::make_unique<KekSet>(std::move(kek)), store) {}

Keyring::Keyring(std::unique_ptr<KekSet> keks, store::Store& store) : keks_(std::move(keks)) {
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

  const store::OwnKey wrapping = own(kWrapping, [&](const std::string& name) {
    const auto key = jose::PrivateKey::generate();
    const std::string jwk = key.public_key().to_jwk().dump();
    const ByteView bytes = as_bytes(jwk);
    return store::OwnKey{
        .name = name, .key = wrap_own(name, key.scalar()), .public_part = Bytes(bytes.begin(), bytes.end())};
  });
  const auto public_key = jose::PublicKey::from_jwk(value_or_throw(Json::parse(as_text(wrapping.public_part))));
  wrapping_ = std::make_unique<jose::PrivateKey>(jose::PrivateKey::from_scalar(public_key, unwrap_own(wrapping)));
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
