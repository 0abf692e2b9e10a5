// Who we are to a registry, from the file that docker and podman write at login (`auths`), or from the program that it
// names (`credHelpers`, `credsStore`). Passwords stay in secrets; nothing of them reaches argv, logs or errors.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace tb::oci {

struct RegistryLogin {
  std::string user;
  SecretString password;
  bool is_identity_token = false;  ///< `password` is an OAuth refresh token
};

/// The file, taken apart.
class AuthFile {
 public:
  AuthFile() = default;
  /// "config_invalid" for what is no such file.
  static Result<AuthFile> parse(const SecretString& text);

  /// What `auths` holds for a registry, or for registry/repository where podman has it so; nothing if it holds none.
  std::optional<RegistryLogin> login(const std::string& registry, const std::string& repository) const;
  /// Name of the helper program's end ("pass" of docker-credential-pass), or "".
  std::string helper(const std::string& registry) const;

 private:
  std::map<std::string, RegistryLogin, std::less<>> auths_;
  std::map<std::string, std::string, std::less<>> helpers_;
  std::string store_;
};

/// "docker.io" is "https://index.docker.io/v1/" to those who write such files.
std::string auth_key(const std::string& registry);

/// Runs docker-credential-<helper> get without a shell: the registry goes to its standard input. Nothing if it knows
/// none. Throws "registry_denied" if it cannot be run, or says what is no credential, or takes over 30 s.
std::optional<RegistryLogin> ask_helper(const std::string& helper, const std::string& registry);

/// {"Username", "Secret"} as helpers answer; "config_invalid".
Result<RegistryLogin> parse_helper_answer(const SecretString& text);

}  // namespace tb::oci
