#include "cli/settings.h"

#include <fmt/format.h>
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <cstdlib>

#include "base/fs.h"

namespace tb::cli {
namespace {

constexpr std::array<std::string_view, 5> kKeys = {"edc_endpoint", "token_file", "control_plane_key", "ca_path",
                                                   "tenant"};

std::string profile_value(const toml::table& profile, std::string_view key, const std::string& path) {
  const toml::node* node = profile.get(key);
  if (node == nullptr) return {};
  std::optional<std::string> value = node->value_exact<std::string>();
  if (!value) throw Error("config_invalid", fmt::format("{}: {} is not a string", path, key));
  return *value;
}

void refuse_unknown_keys(const toml::table& profile, const std::string& path) {
  for (const auto& [key, value] : profile) {
    if (std::ranges::find(kKeys, key.str()) == kKeys.end()) {
      throw Error("config_invalid", fmt::format("{}: unknown key {}", path, key.str()));
    }
  }
}

Settings read_profile(const std::string& path, std::string name) {
  Result<std::string> text = read_small_file(path);
  if (!text && text.error().code() == Code::kNotFound) {
    if (!name.empty()) throw Error("config_invalid", fmt::format("profile {}: there is no {}", name, path));
    return {};
  }
  const std::string content = value_or_throw(std::move(text));
  const toml::parse_result parsed = toml::parse(content, path);
  if (!parsed) {
    throw Error("config_invalid",
                fmt::format("{}:{}: {}", path, parsed.error().source().begin.line, parsed.error().description()));
  }
  const toml::table& root = parsed.table();
  for (const auto& [key, value] : root) {
    if (key.str() != "default_profile" && key.str() != "profiles") {
      throw Error("config_invalid", fmt::format("{}: unknown key {}", path, key.str()));
    }
  }
  const bool asked = !name.empty();
  if (!asked) name = profile_value(root, "default_profile", path);
  if (name.empty()) name = "default";
  const toml::table* profile = root["profiles"][name].as_table();
  if (profile == nullptr) {
    if (!asked && !root.contains("default_profile")) return {};
    throw Error("config_invalid", fmt::format("{} has no profile {}", path, name));
  }
  refuse_unknown_keys(*profile, path);
  Settings settings;
  settings.edc_endpoint = profile_value(*profile, "edc_endpoint", path);
  settings.token_file = profile_value(*profile, "token_file", path);
  settings.control_plane_key = profile_value(*profile, "control_plane_key", path);
  settings.ca_path = profile_value(*profile, "ca_path", path);
  settings.tenant = profile_value(*profile, "tenant", path);
  return settings;
}

}  // namespace

std::optional<std::string> process_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

Settings settle(const SettingFlags& flags, const Environment& environment) {
  const std::string profile = !flags.profile.empty() ? flags.profile : environment("TB_PROFILE").value_or("");
  const std::string home = environment("HOME").value_or("");
  Settings settings;
  if (!home.empty()) settings = read_profile(home + "/.trustbridge/config.toml", profile);
  if (home.empty() && !profile.empty()) {
    throw Error("config_invalid", fmt::format("profile {}: HOME is not set", profile));
  }
  const auto override = [&](std::string& value, const std::string& flag, const char* name) {
    if (!flag.empty()) {
      value = flag;
    } else if (std::optional<std::string> from_environment = environment(name)) {
      value = *from_environment;
    }
  };
  override(settings.edc_endpoint, flags.edc_endpoint, "TB_EDC_ENDPOINT");
  override(settings.token_file, flags.token_file, "TB_TOKEN_FILE");
  override(settings.control_plane_key, flags.control_plane_key, "TB_CONTROL_PLANE_KEY");
  override(settings.ca_path, flags.ca_path, "TB_CA_PATH");
  override(settings.tenant, flags.tenant, "TB_TENANT");
  settings.allow_insecure_http = flags.allow_insecure_http;
  if (const std::optional<std::string> value = environment("TB_ALLOW_INSECURE_HTTP")) {
    if (*value != "true" && *value != "false") {
      throw Error("usage", "TB_ALLOW_INSECURE_HTTP is neither true nor false");
    }
    settings.allow_insecure_http |= *value == "true";
  }
  return settings;
}

}  // namespace tb::cli
