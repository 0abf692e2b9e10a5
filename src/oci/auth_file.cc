#include "oci/auth_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/json.h"

namespace tb::oci {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxHelperName = 64;
constexpr std::string_view kIdentityTokenUser = "<token>";

std::unexpected<Error> invalid(std::string what) {
  return fail("config_invalid", std::move(what));
}

bool is_helper_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxHelperName && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

// Keys are written as hosts, and by old programs as URLs.
std::string plain_key(std::string_view key) {
  if (key == auth_key("docker.io")) return std::string(key);
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (key.starts_with(scheme)) {
      key.remove_prefix(scheme.size());
      key = key.substr(0, key.find('/'));
    }
  }
  return std::string(key);
}

Result<std::string> text_of(const Json& object, std::string_view name) {
  const Json* value = object.find(name);
  if (value == nullptr || value->is_null()) return std::string();
  if (!value->is_string()) return invalid(fmt::format("{} of the login file is no text", name));
  return value->as_string();
}

Result<std::optional<RegistryLogin>> login_of(const Json& entry) {
  if (!entry.is_object()) return invalid("an entry of auths is no object");
  RegistryLogin out;
  std::string token = TRY(text_of(entry, "identitytoken"));
  if (!token.empty()) {
    out.password = SecretString(std::move(token));
    out.is_identity_token = true;
    return std::optional(std::move(out));
  }
  std::string auth = TRY(text_of(entry, "auth"));
  if (auth.empty()) {
    out.user = TRY(text_of(entry, "username"));
    out.password = SecretString(TRY(text_of(entry, "password")));
    if (out.user.empty()) return std::optional<RegistryLogin>();
    return std::optional(std::move(out));
  }
  const SecretString wiped(auth);
  Result<Bytes> plain = from_base64(auth);
  if (!plain) return invalid("an auth of the login file is no base64");
  const SecretString pair{std::string(as_text(*plain))};
  wipe(plain->data(), plain->size());
  const std::size_t colon = pair.reveal().find(':');
  if (colon == std::string::npos || colon == 0) return invalid("an auth of the login file is no user:password");
  out.user = pair.reveal().substr(0, colon);
  out.password = SecretString(pair.reveal().substr(colon + 1));
  return std::optional(std::move(out));
}

RegistryLogin copy_of(const RegistryLogin& login) {
  return {.user = login.user, .password = login.password.clone(), .is_identity_token = login.is_identity_token};
}

}  // namespace

std::string auth_key(const std::string& registry) {
  return registry == "docker.io" ? "https://index.docker.io/v1/" : registry;
}

Result<AuthFile> AuthFile::parse(const SecretString& text) {
  const auto parsed = Json::parse(text.reveal(), {.bytes = kMaxFileBytes});
  if (!parsed || !parsed->is_object()) return invalid("the login file is no JSON object");
  AuthFile out;
  if (const Json* auths = parsed->find("auths"); auths != nullptr && !auths->is_null()) {
    if (!auths->is_object()) return invalid("auths of the login file is no object");
    for (const auto& [key, entry] : auths->as_object()) {
      if (auto login = TRY(login_of(entry))) out.auths_.emplace(plain_key(key), std::move(*login));
    }
  }
  if (const Json* helpers = parsed->find("credHelpers"); helpers != nullptr && !helpers->is_null()) {
    if (!helpers->is_object()) return invalid("credHelpers of the login file is no object");
    for (const auto& [key, name] : helpers->as_object()) {
      if (!name.is_string() || !is_helper_name(name.as_string())) return invalid("a credHelper's name is refused");
      out.helpers_.emplace(plain_key(key), name.as_string());
    }
  }
  out.store_ = TRY(text_of(*parsed, "credsStore"));
  if (!out.store_.empty() && !is_helper_name(out.store_)) return invalid("credsStore's name is refused");
  return out;
}

std::optional<RegistryLogin> AuthFile::login(const std::string& registry, const std::string& repository) const {
  // The most exact entry first: registry/team/name, registry/team, registry.
  for (std::string key = registry + "/" + repository;;) {
    if (const auto found = auths_.find(key); found != auths_.end()) return copy_of(found->second);
    if (key.size() <= registry.size()) break;
    key.resize(std::max(key.rfind('/'), registry.size()));
  }
  if (const auto found = auths_.find(auth_key(registry)); found != auths_.end()) return copy_of(found->second);
  return std::nullopt;
}

std::string AuthFile::helper(const std::string& registry) const {
  for (const std::string& key : {registry, auth_key(registry)}) {
    if (const auto found = helpers_.find(key); found != helpers_.end()) return found->second;
  }
  return store_;
}

Result<RegistryLogin> parse_helper_answer(const SecretString& text) {
  const auto parsed = Json::parse(text.reveal(), {.bytes = 65536});
  if (!parsed || !parsed->is_object()) return invalid("the credential helper's answer is no JSON object");
  RegistryLogin out;
  out.user = TRY(text_of(*parsed, "Username"));
  out.password = SecretString(TRY(text_of(*parsed, "Secret")));
  if (out.password.reveal().empty()) return invalid("the credential helper's answer holds no secret");
  if (out.user == kIdentityTokenUser) {
    out.user.clear();
    out.is_identity_token = true;
  }
  return out;
}

}  // namespace tb::oci
