#include "sentinel/config_digest.h"

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::sentinel {
namespace {

constexpr std::size_t kMaxCaBytes = std::size_t{4} << 20;

std::string_view name_of(DeliveryChoice choice) {
  switch (choice) {
    case DeliveryChoice::kMount:
      return "mount";
    case DeliveryChoice::kTmpfs:
      return "tmpfs";
    case DeliveryChoice::kFifo:
      return "fifo";
    case DeliveryChoice::kAuto:
      break;
  }
  return "auto";
}

std::string_view name_of(HydrateChoice choice) {
  switch (choice) {
    case HydrateChoice::kStrict:
      return "strict";
    case HydrateChoice::kLazy:
      return "lazy";
    case HydrateChoice::kOverlap:
      break;
  }
  return "overlap";
}

std::string_view name_of(IsolationChoice choice) {
  switch (choice) {
    case IsolationChoice::kFull:
      return "full";
    case IsolationChoice::kPartial:
      return "partial";
    case IsolationChoice::kOff:
      break;
  }
  return "off";
}

Json list_of(const std::vector<std::string>& items) {
  Json out = Json::array();
  for (const std::string& item : items) out.push(item);
  return out;
}

/// The bundle's content, as its path says nothing.
std::string ca_digest(const std::string& path) {
  if (path.empty()) return "system";
  return sha256_hex(value_or_throw(read_small_file(path, kMaxCaBytes)));
}

Json metering_statement(const Config& config) {
  Json json = Json::object();
  json.set("context_tokens", config.model_context_tokens);
  json.set("control_plane", true);
  if (config.billing) {
    Json dimensions = Json::array();
    for (const auto& dimension : config.billing->dimensions) dimensions.push(dimension);
    Json marketplace = Json::object();
    marketplace.set("dimensions", std::move(dimensions));
    marketplace.set("endpoint", config.billing->endpoint);
    marketplace.set("plan", config.billing->plan);
    marketplace.set("resource", config.billing->resource);
    json.set("marketplace", std::move(marketplace));
  }
  return json;
}

}  // namespace

Json config_statement(const Config& config) {
  Json json = Json::object();
  json.set("allow_insecure_http", config.allow_insecure_http);
  json.set("allow_private_networks", config.allow_private_networks);
  json.set("allow_swap", config.allow_swap);
  json.set("allow_unauthenticated_manifest", config.allow_unauthenticated_manifest);
  json.set("ca_sha256", ca_digest(config.ca_path));
  json.set("delivery", name_of(config.delivery));
  json.set("dev", config.dev);
  json.set("hydrate", name_of(config.hydrate));
  json.set("key_release", config.plain_key_allowed ? "plain" : "wrapped");
  json.set("metering", metering_statement(config));
  json.set("provider_key", config.provider_key ? to_base64url(*config.provider_key) : "");
  json.set("runtime_command", list_of(config.runtime_command));
  json.set("reachable_runtime_allowed", config.reachable_runtime_allowed);
  json.set("runtime_devices", list_of(config.runtime_devices));
  json.set("runtime_isolation", config.runtime_command.empty() ? "external" : name_of(config.isolation));
  json.set("runtime_read_paths", list_of(config.runtime_read_paths));
  json.set("runtime_uid", static_cast<std::int64_t>(config.runtime_uid));
  json.set("source", config.source.has_value() ? "folder" : "urls");
  return json;
}

std::string config_digest(const Config& config) {
  return sha256_hex(value_or_throw(config_statement(config).canonical()));
}

}  // namespace tb::sentinel
