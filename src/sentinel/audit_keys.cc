#include "sentinel/audit_keys.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/fs.h"

namespace tb::sentinel {
namespace {

std::string body_key_path(const std::string& state_dir) {
  return state_dir + "/audit-key";
}

std::string signing_key_path(const std::string& state_dir) {
  return state_dir + "/audit-signing-key";
}

std::optional<SecretString> stored(const std::string& path) {
  auto text = read_secret_file(path, 4096);
  if (!text && text.error().reason == "file_not_found") return std::nullopt;
  return value_or_throw(std::move(text));
}

[[noreturn]] void refuse(const std::string& path) {
  throw Error("config_invalid", fmt::format("{} is no audit key", path));
}

Secret<32> key_of(Result<Bytes> raw, const std::string& path) {
  if (!raw || raw->size() != 32) refuse(path);
  Secret<32> key(std::span<const std::uint8_t, 32>(raw->data(), 32));
  wipe(raw->data(), raw->size());
  return key;
}

std::string_view first_line(const SecretString& text) {
  return std::string_view(text.reveal()).substr(0, text.reveal().find('\n'));
}

}  // namespace

HmacKey load_or_make_body_key(const std::string& state_dir) {
  const std::string path = body_key_path(state_dir);
  if (const auto text = stored(path)) return HmacKey(key_of(from_hex(first_line(*text)), path).reveal());
  const FileKey key = random_key();
  const SecretString text(to_hex(key.reveal()) + "\n");
  value_or_throw(write_file_atomically(path, text.reveal(), 0600, false));
  return HmacKey(key.reveal());
}

std::optional<Ed25519PrivateKey> load_signing_key(const std::string& state_dir) {
  const std::string path = signing_key_path(state_dir);
  const auto text = stored(path);
  if (!text) return std::nullopt;
  return Ed25519PrivateKey(key_of(from_base64url(first_line(*text)), path));
}

Ed25519PrivateKey make_signing_key(const std::string& state_dir) {
  Ed25519PrivateKey key = Ed25519PrivateKey::generate();
  const SecretString text(to_base64url(key.seed().reveal()) + "\n");
  value_or_throw(write_file_atomically(signing_key_path(state_dir), text.reveal(), 0600, true));
  return key;
}

void drop_signing_key(const std::string& state_dir) {
  ::unlink(signing_key_path(state_dir).c_str());
}

}  // namespace tb::sentinel
