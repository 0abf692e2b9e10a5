#include "oci/image_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "oci/manifest.h"
#include "oci/reference.h"

namespace tb::oci {
namespace {

constexpr std::size_t kMaxStrings = 10'000;
constexpr std::size_t kMaxStringBytes = 128 * 1024;
constexpr std::int64_t kNanoseconds = 1'000'000'000;

std::unexpected<Error> malformed(std::string what) {
  return fail("image_malformed", std::move(what));
}

Result<> check_strings(const Json& object, std::string_view name) {
  const Json* list = object.find(name);
  if (list == nullptr || list->is_null()) return {};
  if (!list->is_array() || list->as_array().size() > kMaxStrings) return malformed(fmt::format("{} is no list", name));
  for (const Json& one : list->as_array()) {
    if (!one.is_string() || one.as_string().size() > kMaxStringBytes)
      return malformed(fmt::format("{} holds no text", name));
  }
  return {};
}

Result<> check_text_map(const Json& object, std::string_view name) {
  const Json* map = object.find(name);
  if (map == nullptr || map->is_null()) return {};
  if (!map->is_object() || map->as_object().size() > kMaxStrings)
    return malformed(fmt::format("{} is no object", name));
  for (const auto& [key, value] : map->as_object()) {
    if (!value.is_string() || value.as_string().size() > kMaxStringBytes)
      return malformed(fmt::format("{} holds no text", name));
  }
  return {};
}

Json strings(const std::vector<std::string>& list) {
  Json out = Json::array();
  for (const std::string& one : list) out.push(one);
  return out;
}

Json& member_object(Json& object, std::string_view name) {
  const Json* held = object.find(name);
  if (held == nullptr || !held->is_object()) object.set(name, Json::object());
  return std::ranges::find(object.as_object(), name, &Json::Member::first)->second;
}

void set_environment(Json& config, const std::map<std::string, std::string>& wanted) {
  std::vector<std::string> lines;
  if (const Json* held = config.find("Env"); held != nullptr && held->is_array()) {
    for (const Json& one : held->as_array()) {
      const std::string& line = one.as_string();
      if (!wanted.contains(line.substr(0, line.find('=')))) lines.push_back(line);
    }
  }
  for (const auto& [name, value] : wanted) lines.push_back(name + "=" + value);
  config.set("Env", strings(lines));
}

Json health_json(const HealthCheck& health) {
  std::vector<std::string> test{"CMD"};
  test.insert(test.end(), health.command.begin(), health.command.end());
  Json out = Json::object();
  out.set("Test", strings(test));
  out.set("Interval", health.interval_s * kNanoseconds);
  out.set("Timeout", health.timeout_s * kNanoseconds);
  out.set("StartPeriod", health.start_period_s * kNanoseconds);
  out.set("Retries", health.retries);
  return out;
}

}  // namespace

ImageConfig ImageConfig::scratch() {
  Json rootfs = Json::object();
  rootfs.set("type", "layers");
  rootfs.set("diff_ids", Json::array());
  Json out = Json::object();
  out.set("architecture", "amd64");
  out.set("os", "linux");
  out.set("config", Json::object());
  out.set("rootfs", std::move(rootfs));
  out.set("history", Json::array());
  return ImageConfig(std::move(out));
}

Result<ImageConfig> ImageConfig::parse(std::string_view text, std::size_t layers) {
  auto parsed = Json::parse(text, {.bytes = kMaxDocumentBytes, .depth = 16, .values = 200'000});
  if (!parsed) return fail(Error("image_malformed", "the image's config is not JSON", std::move(parsed.error())));
  if (!parsed->is_object()) return malformed("the image's config is no object");
  const auto is_text = [&](std::string_view name, std::string_view wanted) {
    const Json* value = parsed->find(name);
    return value != nullptr && value->is_string() && value->as_string() == wanted;
  };
  if (!is_text("os", "linux") || !is_text("architecture", "amd64"))
    return malformed("the image is not for linux/amd64");
  const Json* rootfs = parsed->find("rootfs");
  if (rootfs == nullptr || !rootfs->is_object()) return malformed("the image's config has no rootfs");
  TRY(check_strings(*rootfs, "diff_ids"));
  const Json* ids = rootfs->find("diff_ids");
  const std::size_t count = ids != nullptr && ids->is_array() ? ids->as_array().size() : 0;
  if (count != layers) return malformed(fmt::format("the config has {} layers, the manifest {}", count, layers));
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_digest(ids->as_array()[i].as_string())) return malformed("a layer's diff id is no digest");
  }
  if (const Json* config = parsed->find("config"); config != nullptr && !config->is_null()) {
    if (!config->is_object()) return malformed("config is no object");
    for (const auto name : {"Env", "Entrypoint", "Cmd"}) TRY(check_strings(*config, name));
    TRY(check_text_map(*config, "Labels"));
    if (const Json* ports = config->find("ExposedPorts");
        ports != nullptr && !ports->is_null() && !ports->is_object()) {
      return malformed("ExposedPorts is no object");
    }
  }
  if (const Json* history = parsed->find("history");
      history != nullptr && !history->is_null() && !history->is_array()) {
    return malformed("history is no list");
  }
  return ImageConfig(std::move(*parsed));
}

std::string ImageConfig::environment(std::string_view name) const {
  const Json* config = document_.find("config");
  const Json* held = config != nullptr ? config->find("Env") : nullptr;
  if (held == nullptr || !held->is_array()) return {};
  for (const Json& one : held->as_array()) {
    const std::string& line = one.as_string();
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == '=')
      return line.substr(name.size() + 1);
  }
  return {};
}

std::vector<std::string> ImageConfig::diff_ids() const {
  std::vector<std::string> out;
  const Json* ids = document_.find("rootfs")->find("diff_ids");
  if (ids == nullptr || !ids->is_array()) return out;
  for (const Json& one : ids->as_array()) out.push_back(one.as_string());
  return out;
}

ImageConfig ImageConfig::with(const ConfigChange& change) const {
  ImageConfig out = *this;
  Json& document = out.document_;
  const std::string created = to_rfc3339(change.created_s * 1000);
  document.set("created", created);
  Json& config = member_object(document, "config");
  if (!change.entrypoint.empty()) {
    config.set("Entrypoint", strings(change.entrypoint));
    config.erase("Cmd");
    config.erase("Healthcheck");
  }
  if (!change.user.empty()) config.set("User", change.user);
  if (!change.working_dir.empty()) config.set("WorkingDir", change.working_dir);
  if (!change.environment.empty()) set_environment(config, change.environment);
  if (!change.labels.empty()) {
    Json& labels = member_object(config, "Labels");
    for (const auto& [name, value] : change.labels) labels.set(name, value);
  }
  if (!change.exposed_ports.empty()) {
    Json& ports = member_object(config, "ExposedPorts");
    for (const std::string& port : change.exposed_ports) ports.set(port, Json::object());
  }
  if (change.health) config.set("Healthcheck", health_json(*change.health));

  std::vector<std::string> ids = diff_ids();
  ids.insert(ids.end(), change.diff_ids.begin(), change.diff_ids.end());
  member_object(document, "rootfs").set("diff_ids", strings(ids));
  const Json* held = document.find("history");
  Json history = held != nullptr && held->is_array() ? *held : Json::array();
  for (const std::string& sentence : change.history) {
    Json one = Json::object();
    one.set("created", created);
    one.set("created_by", sentence);
    history.push(std::move(one));
  }
  document.set("history", std::move(history));
  return out;
}

}  // namespace tb::oci
