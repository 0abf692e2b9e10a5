#include "cli/registry_login.h"

#include <sys/stat.h>

#include "base/fs.h"

namespace tb::cli {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;

// As `podman login` and `docker login` have it.
std::vector<std::string> usual_files(const Environment& environment) {
  std::vector<std::string> out;
  const std::string home = environment("HOME").value_or("");
  if (const auto runtime = environment("XDG_RUNTIME_DIR")) out.push_back(*runtime + "/containers/auth.json");
  if (!home.empty()) out.push_back(home + "/.config/containers/auth.json");
  if (const auto docker = environment("DOCKER_CONFIG")) {
    out.push_back(*docker + "/config.json");
  } else if (!home.empty()) {
    out.push_back(home + "/.docker/config.json");
  }
  return out;
}

void warn_if_open(const std::string& path, const Console& console) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 0077) != 0) {
    console.warning("others can read the registry logins in " + path);
  }
}

std::optional<oci::RegistryLogin> login_in(const std::string& path, const oci::Reference& place,
                                           const Console& console) {
  const SecretString text(value_or_throw(read_small_file(path, kMaxFileBytes)));
  warn_if_open(path, console);
  auto file = oci::AuthFile::parse(text);
  if (!file) throw Error("config_invalid", path + " cannot be used", std::move(file.error()));
  if (auto login = file->login(place.registry, place.repository)) return login;
  const std::string helper = file->helper(place.registry);
  return helper.empty() ? std::nullopt : oci::ask_helper(helper, place.registry);
}

}  // namespace

std::optional<oci::RegistryLogin> registry_login(const oci::Reference& place, const std::string& auth_file,
                                                 const Environment& environment, const Console& console) {
  const std::string named = !auth_file.empty() ? auth_file : environment("REGISTRY_AUTH_FILE").value_or("");
  if (!named.empty()) return login_in(named, place, console);
  for (const std::string& path : usual_files(environment)) {
    if (::access(path.c_str(), F_OK) != 0) continue;
    if (auto login = login_in(path, place, console)) return login;
  }
  return std::nullopt;
}

}  // namespace tb::cli
