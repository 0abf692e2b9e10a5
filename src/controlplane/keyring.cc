// Wrapping and unwrapping, and the first start.
#include "controlplane/keyring.h"

#include <fmt/format.h>

#include "base/fs.h"

namespace tb::controlplane {
namespace {

constexpr std::string_view kIdentity = "identity";
constexpr std::string_view kWrapping = "wrapping";
constexpr std::string_view kUrls = "urls";

std::string length_prefixed(std::string_view text) {
  std::uint8_t length[4];
  store_be32(length, static_cast<std::uint32_t>(text.size()));
  return std::string(as_text(length)) + std::string(text);
}

Kek make_kek(Secret<32> key) {
  std::string id = to_hex(hmac_sha256(key.reveal(), as_bytes("trustbridge kek id v1"))).substr(0, 16);
  return {.key = std::move(key), .id = std::move(id)};
}

bool is_missing(const Error& error) {
  return error.reason == "file_not_found";
}

}  // namespace

Kek kek_from_hex(std::string_view hex) {
  auto bytes = from_hex(hex);
  if (!bytes || bytes->size() != 32) throw Error("config_invalid", "the KEK must be 64 hex digits");
  Secret<32> key(std::span<const std::uint8_t, 32>(bytes->data(), 32));
  wipe(bytes->data(), bytes->size());
  return make_kek(std::move(key));
}

Kek load_or_create_kek(const std::string& path, bool may_create) {
  auto text = read_secret_file(path, 4096);
  if (!text && is_missing(text.error()) && may_create) {
    const Secret<32> key = random_key();
    const SecretString line(to_hex(key.reveal()) + "\n");
    const auto written = write_file_atomically(path, line.reveal(), 0600, false);
    // Another process at its own first start may have been quicker: then its key is the one.
    if (!written && written.error().reason != "output_exists") throw Error(written.error());
    text = read_secret_file(path, 4096);
  }
  if (!text && is_missing(text.error()))
    throw Error("kek_missing", "stored keys are wrapped under a KEK, and " + path + " is not there");
  const SecretString content = value_or_throw(std::move(text));
  std::string_view hex = content.reveal();
  while (!hex.empty() && (hex.back() == '\n' || hex.back() == '\r')) hex.remove_suffix(1);
  return kek_from_hex(hex);
}

Keyring::Keyring(Kek kek, store::Store& store) : kek_(std::move(kek)) {
  for (const auto& id : store.kek_ids()) {
    if (id != kek_.id) {
      throw Error("kek_missing",
                  fmt::format("stored keys are wrapped under the KEK {}, and the one given is {}", id, kek_.id));
    }
  }
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

Secret<32> Keyring::derived(std::string_view purpose, std::initializer_list<std::string_view> parts) const {
  std::string info(purpose);
  for (const auto part : parts) info += length_prefixed(part);
  return hkdf_sha256(kek_.key.reveal(), info);
}

store::WrappedKey Keyring::wrap(const std::string& tenant, const std::string& asset_id,
                                const std::string& sha256_ciphertext, const FileKey& key) const {
  return {.kek_id = kek_.id, .wrapped = wrap_key(derived("asset-kek/v1", {tenant, asset_id, sha256_ciphertext}), key)};
}

FileKey Keyring::unwrap(const std::string& tenant, const std::string& asset_id, const std::string& sha256_ciphertext,
                        const store::WrappedKey& wrapped) const {
  if (wrapped.kek_id != kek_.id) throw Error("kek_missing", "the asset's key is wrapped under another KEK");
  return value_or_throw(unwrap_key(derived("asset-kek/v1", {tenant, asset_id, sha256_ciphertext}), wrapped.wrapped));
}

store::WrappedKey Keyring::wrap_own(const std::string& name, const Secret<32>& key) const {
  return {.kek_id = kek_.id, .wrapped = wrap_key(derived("own-kek/v1", {name}), key)};
}

Secret<32> Keyring::unwrap_own(const store::OwnKey& own) const {
  return value_or_throw(unwrap_key(derived("own-kek/v1", {own.name}), own.key.wrapped));
}

}  // namespace tb::controlplane
