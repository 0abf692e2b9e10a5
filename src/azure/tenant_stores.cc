// Places, and the two ways to sign.
#include "azure/tenant_stores.h"

#include <fmt/format.h>

#include <algorithm>

#include "http/address.h"

namespace tb::azure {
namespace {

constexpr std::string_view kTenant = "{tenant}";
constexpr std::string_view kAccount = "{account}";

std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
  std::string out(text);
  if (const std::size_t at = out.find(what); at != std::string::npos) out.replace(at, what.size(), by);
  return out;
}

bool all_of(std::string_view text, std::string_view more) {
  return std::ranges::all_of(
      text, [&](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || more.contains(c); });
}

bool valid_account(std::string_view name) {
  return name.size() >= 3 && name.size() <= 24 && all_of(name, "");
}

bool valid_container(std::string_view name) {
  return name.size() >= 3 && name.size() <= 63 && all_of(name, "-") && name.front() != '-' && name.back() != '-' &&
         !name.contains("--");
}

bool valid_prefix(std::string_view prefix) {
  if (prefix.empty()) return true;
  if (prefix.size() > 512) return false;
  for (std::size_t at = 0; at <= prefix.size();) {
    const std::size_t end = std::min(prefix.find('/', at), prefix.size());
    const std::string_view part = prefix.substr(at, end - at);
    if (part.empty() || part.ends_with('.') || !all_of(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.")) return false;
    at = end + 1;
  }
  return true;
}

bool valid(const Place& place) {
  return valid_account(place.account) && valid_container(place.container) && valid_prefix(place.prefix);
}

Place place_for(const Place& any_tenant, std::string_view tenant) {
  return {.account = any_tenant.account,
          .container = replaced(any_tenant.container, kTenant, tenant),
          .prefix = replaced(any_tenant.prefix, kTenant, tenant)};
}

std::string path_in_container(const Place& place, std::string_view asset_id, std::string_view name) {
  return fmt::format("{}{}{}/{}", place.prefix, place.prefix.empty() ? "" : "/", asset_id, name);
}

bool is_plain_http(std::string_view endpoint) {
  return endpoint.starts_with("http://");
}

}  // namespace

Result<Place> parse_place(std::string_view spec, bool for_any_tenant) {
  constexpr std::string_view kScheme = "azure:";
  if (!spec.starts_with(kScheme)) return fail("config_invalid", "must begin with azure:");
  spec.remove_prefix(kScheme.size());
  Place place;
  place.account = spec.substr(0, spec.find('/'));
  spec.remove_prefix(std::min(spec.size(), place.account.size() + 1));
  place.container = spec.substr(0, spec.find('/'));
  spec.remove_prefix(std::min(spec.size(), place.container.size() + 1));
  while (spec.ends_with('/')) spec.remove_suffix(1);
  place.prefix = spec;
  // A tenant's name of the strictest kind in its place: what is left must be valid.
  const bool has_tenant = place.container.contains(kTenant) || place.prefix.contains(kTenant);
  if (!valid(place_for(place, "t")) || (place.container.contains(kTenant) && place.prefix.contains(kTenant))) {
    return fail("config_invalid", "must be azure:ACCOUNT/CONTAINER/PREFIX, with {tenant} once and not in the account");
  }
  if (has_tenant != for_any_tenant) {
    return fail("config_invalid",
                for_any_tenant ? "must have {tenant} in container or prefix, so that no tenant reaches another's blobs"
                               : "is one tenant's own: it has no {tenant}");
  }
  return place;
}

std::vector<std::string> faults_of(const StoreSettings& settings) {
  std::vector<std::string> faults;
  const std::string_view endpoint = settings.endpoint;
  const std::size_t account = endpoint.find(kAccount);
  const bool plain = endpoint.find_first_of("?#@ \"") == std::string_view::npos && !endpoint.ends_with('/');
  if (account == std::string_view::npos || !plain || (!endpoint.starts_with("https://") && !is_plain_http(endpoint))) {
    faults.emplace_back("the endpoint must be https:// with {account} in host or path");
  } else if (is_plain_http(endpoint)) {
    const std::string_view authority = endpoint.substr(7, endpoint.find('/', 7) - 7);
    if (!http::is_loopback_host(authority.substr(0, authority.find(':')))) {
      faults.emplace_back("the endpoint must be https:// unless it is an emulator on this machine's loopback");
    }
  }
  for (const auto& [tenant, place] : settings.of_tenant) {
    for (const auto& [other, its_place] : settings.of_tenant) {
      if (tenant < other && place == its_place)
        faults.push_back(fmt::format("{} and {} have one place", tenant, other));
    }
  }
  return faults;
}

std::string blob_url(std::string_view endpoint, const Place& place, std::string_view asset_id, std::string_view name) {
  return fmt::format("{}/{}/{}", replaced(endpoint, kAccount, place.account), place.container,
                     path_in_container(place, asset_id, name));
}

TenantStores::TenantStores(StoreSettings settings, Clock clock)
    : settings_(std::move(settings)), clock_(std::move(clock)) {
  if (settings_.credential.kind != Credential::Kind::kAccountKey) {
    tokens_ = std::make_unique<TokenSource>(settings_.credential, settings_.ca_path);
  }
}

std::optional<Place> TenantStores::place_of(const std::string& tenant) const {
  if (const auto own = settings_.of_tenant.find(tenant); own != settings_.of_tenant.end()) return own->second;
  if (!settings_.any_tenant) return std::nullopt;
  const Place place = place_for(*settings_.any_tenant, tenant);
  // A tenant whose name is no part of a container's, or makes the place that another was given by name, has none.
  const bool taken = std::ranges::any_of(settings_.of_tenant, [&](const auto& entry) { return entry.second == place; });
  return valid(place) && !taken ? std::optional(place) : std::nullopt;
}

std::string TenantStores::url(const blob::StoredObject& object) const {
  const auto place = place_of(object.tenant);
  return place ? blob_url(settings_.endpoint, *place, object.asset_id, object.name) : "";
}

bool TenantStores::covers(std::string_view url) const {
  const auto lies_in = [&](const Place& place) {
    const std::string container = replaced(settings_.endpoint, kAccount, place.account) + "/" + place.container + "/";
    return url.starts_with(std::string_view(container).substr(0, container.find(kTenant)));
  };
  return (settings_.any_tenant && lies_in(*settings_.any_tenant)) ||
         std::ranges::any_of(settings_.of_tenant, [&](const auto& entry) { return lies_in(entry.second); });
}

DelegationKeys& TenantStores::keys_of(const std::string& account) {
  const std::lock_guard lock(mutex_);
  auto& keys = keys_[account];
  if (!keys) {
    keys = std::make_unique<DelegationKeys>(replaced(settings_.endpoint, kAccount, account), *tokens_,
                                            settings_.ca_path, clock_);
  }
  return *keys;
}

SecretUrl TenantStores::sign_read(const blob::StoredObject& object, UnixMs expires_at) {
  const auto place = place_of(object.tenant);
  if (!place) throw Error("not_found", "the tenant has no place in the store");
  const BlobPath blob{.account = place->account,
                      .container = place->container,
                      .blob = path_in_container(*place, object.asset_id, object.name)};
  const SasTerms terms{.expires_at = expires_at, .https_only = !is_plain_http(settings_.endpoint)};
  const SecretString query = tokens_ ? delegation_sas(blob, terms, *keys_of(place->account).key_for(expires_at))
                                     : service_sas(blob, terms, read_account_key(settings_.credential, place->account));
  return SecretUrl(url(object) + "?" + query.reveal());
}

}  // namespace tb::azure
