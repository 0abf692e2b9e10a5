#include "http/proxy_choice.h"

#include "http/address.h"
#include "http/message.h"

namespace tb::http {

namespace {

std::string first_set(const EnvironmentLookup& environment, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (auto value = environment(name); value && !value->empty()) return *value;
  }
  return {};
}

bool ends_with_domain(std::string_view host, std::string_view domain) {
  if (domain.starts_with('.')) domain.remove_prefix(1);
  if (domain.empty() || host.size() < domain.size()) return false;
  const std::string_view tail = host.substr(host.size() - domain.size());
  return equal_ignoring_case(tail, domain) &&
         (tail.size() == host.size() || host[host.size() - tail.size() - 1] == '.');
}

bool is_exempt(std::string_view host, std::string_view list) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find_first_of(", "), list.size());
    const std::string_view item = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    if (item == "*" || (!item.empty() && ends_with_domain(host, item))) return true;
  }
  return false;
}

}  // namespace

std::string proxy_for(std::string_view scheme, std::string_view host, const EnvironmentLookup& environment) {
  if (is_loopback_host(host)) return {};
  if (is_exempt(host, first_set(environment, {"no_proxy", "NO_PROXY"}))) return {};
  const std::string own = scheme == "https" ? first_set(environment, {"https_proxy", "HTTPS_PROXY"})
                                            : first_set(environment, {"http_proxy", "HTTP_PROXY"});
  return own.empty() ? first_set(environment, {"all_proxy", "ALL_PROXY"}) : own;
}

}  // namespace tb::http
