// Which proxy a request goes through, by the environment variables that curl and others share. Pure. libcurl could read
// them itself, but then nobody could tell whether the address at connect is the proxy's or the target's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace tb::http {

/// Value of an environment variable; nullopt if it is not set.
using EnvironmentLookup = std::function<std::optional<std::string>(const std::string& name)>;

/// https_proxy, HTTPS_PROXY or http_proxy (the upper-case HTTP_PROXY counts too: no program of ours is a CGI script),
/// then all_proxy and ALL_PROXY; "" where none is set or no_proxy/NO_PROXY exempts `host` ("*", a name, a name's
/// domain). Loopback hosts never go through a proxy.
std::string proxy_for(std::string_view scheme, std::string_view host, const EnvironmentLookup& environment);

}  // namespace tb::http
