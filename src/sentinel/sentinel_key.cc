// One line: the public JWK with its `d`, RFC 7518 6.2.
#include "sentinel/sentinel_key.h"

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::sentinel {
namespace {

constexpr std::size_t kMaxFileBytes = 4096;

Result<SecretString> read_file(const std::string& path) {
  return read_secret_file(path, kMaxFileBytes);
}

void make_file(const std::string& path) {
  const auto key = jose::PrivateKey::generate();
  const Json jwk = key.public_key().to_jwk();
  const SecretString scalar(to_base64url(key.scalar().reveal()));
  std::string text = jwk.dump();
  text.pop_back();
  const SecretString line(text + ",\"d\":\"" + scalar.reveal() + "\"}\n");
  const auto written = write_file_atomically(path, line.reveal(), 0600, false);
  // Another process at its own first start may have been quicker: then its key is the one.
  if (!written && written.error().reason != "output_exists") throw Error(written.error());
}

[[noreturn]] void refuse(const std::string& path) {
  throw Error("sentinel_key_malformed", path + " does not hold a sentinel key");
}

}  // namespace

jose::PrivateKey load_or_make_sentinel_key(const std::string& path) {
  auto text = read_file(path);
  if (!text && text.error().reason == "file_not_found") {
    make_file(path);
    text = read_file(path);
  }
  const SecretString content = value_or_throw(std::move(text));
  auto json = Json::parse(content.reveal(), {.bytes = kMaxFileBytes, .depth = 2});
  if (!json || !json->is_object()) refuse(path);
  const Json* d = json->find("d");
  if (d == nullptr || !d->is_string()) refuse(path);
  const SecretString scalar_text(d->as_string());
  json->erase("d");
  auto scalar = from_base64url(scalar_text.reveal());
  if (!scalar || scalar->size() != 32) refuse(path);
  Secret<32> secret(std::span<const std::uint8_t, 32>(scalar->data(), 32));
  wipe(scalar->data(), scalar->size());
  try {
    return jose::PrivateKey::from_scalar(jose::PublicKey::from_jwk(*json), std::move(secret));
  } catch (const Error&) {
    refuse(path);
  }
}

}  // namespace tb::sentinel
