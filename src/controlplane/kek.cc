// KEKs of the operator's own keeping, and the set of those in use.
#include "controlplane/kek.h"

#include <fmt/format.h>

#include <initializer_list>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::controlplane {
namespace {

std::string context_of(std::string_view purpose, std::initializer_list<std::string_view> parts) {
  std::string out(purpose);
  for (const auto part : parts) {
    std::uint8_t length[4];
    store_be32(length, static_cast<std::uint32_t>(part.size()));
    out += as_text(length);
    out += part;
  }
  return out;
}

class LocalKek final : public Kek {
 public:
  explicit LocalKek(Secret<32> key)
      : Kek(to_hex(hmac_sha256(key.reveal(), as_bytes("trustbridge kek id v1"))).substr(0, 16)), key_(std::move(key)) {}

  Bytes wrap(std::string_view context, const Secret<32>& key) const override {
    return wrap_key(hkdf_sha256(key_.reveal(), context), key);
  }
  Secret<32> unwrap(std::string_view context, ByteView wrapped) const override {
    return value_or_throw(unwrap_key(hkdf_sha256(key_.reveal(), context), wrapped));
  }

 private:
  Secret<32> key_;
};

bool is_missing(const Error& error) {
  return error.reason == "file_not_found";
}

}  // namespace

std::string asset_key_context(std::string_view tenant, std::string_view asset_id, std::string_view sha256_ciphertext) {
  return context_of("asset-kek/v1", {tenant, asset_id, sha256_ciphertext});
}

std::string own_key_context(std::string_view name) {
  return context_of("own-kek/v1", {name});
}

std::unique_ptr<Kek> kek_from_hex(std::string_view hex) {
  auto bytes = from_hex(hex);
  if (!bytes || bytes->size() != 32) throw Error("config_invalid", "the KEK must be 64 hex digits");
  Secret<32> key(std::span<const std::uint8_t, 32>(bytes->data(), 32));
  wipe(bytes->data(), bytes->size());
  return std::make_unique<LocalKek>(std::move(key));
}

std::unique_ptr<Kek> load_or_create_kek(const std::string& path, bool may_create) {
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

KekSet::KekSet(std::unique_ptr<Kek> current, std::vector<Opener> accepted) : current_(std::move(current)) {
  for (auto& open : accepted) accepted_.push_back({.open = std::move(open), .kek = nullptr});
}

const Kek& KekSet::of(const std::string& id) const {
  if (id == current_->id()) return *current_;
  const std::lock_guard lock(mutex_);
  for (auto& one : accepted_) {
    if (!one.kek) one.kek = one.open();
    if (one.kek && one.kek->id() == id) return *one.kek;
  }
  throw Error("kek_missing", fmt::format("a stored key is wrapped under the KEK {}, and those given are {}{}", id,
                                         current_->id(), accepted_.empty() ? "" : " and the accepted ones"));
}

}  // namespace tb::controlplane
