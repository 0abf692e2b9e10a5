#include "sentinel/healthcheck.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "base/json.h"
#include "http/address.h"
#include "http/readiness.h"

namespace tb::sentinel {
namespace {

constexpr std::string_view kHttp = "http://";
constexpr int kNotReady = 1;
constexpr int kOk = 200;

http::ListenAddress address_of(const std::string& url) {
  if (!url.starts_with(kHttp)) throw Error("usage", "--progress takes http://HOST:PORT");
  http::ListenAddress out = value_or_throw(http::parse_listen_address(std::string_view(url).substr(kHttp.size())));
  if (!out.is_loopback) throw Error("usage", "--progress asks this machine only");
  return out;
}

}  // namespace

std::string progress_of(std::string_view status) {
  const auto parsed = Json::parse(status);
  const Json* state = parsed ? parsed->find("state") : nullptr;
  if (state == nullptr || !state->is_string()) return {};
  const bool is_word =
      std::ranges::all_of(state->as_string(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
  if (!is_word) return {};
  const Json* hydrate = parsed->find("hydrate");
  const Json* bytes = hydrate != nullptr ? hydrate->find("bytes") : nullptr;
  const bool counts = bytes != nullptr && bytes->is_integer();
  return fmt::format("{} {}", state->as_string(), counts ? bytes->as_integer() : 0);
}

int healthcheck(const std::vector<std::string>& arguments, const http::ListenAddress& health_address) {
  const bool progress = !arguments.empty() && arguments.front() == "--progress";
  if (arguments.size() > (progress ? 2U : 0U))
    throw Error("usage", "healthcheck takes --progress [URL] and nothing else");
  const http::OwnServer server{.address = progress && arguments.size() == 2 ? address_of(arguments[1]) : health_address,
                               .tls_cert_path = {},
                               .tls_name = {}};
  http::OwnAnswer answer;
  try {
    answer = http::ask_own(server, progress ? "/status" : "/readyz");
  } catch (const Error& error) {
    fmt::print(stderr, "trustbridge-sentinel: not ready: {}\n", error.story());
    return kNotReady;  // orchestrators know 0 and 1 only
  }
  if (progress) {
    const std::string text = answer.status == kOk ? progress_of(answer.body) : "";
    if (!text.empty()) fmt::print("{}\n", text);
    return text.empty() ? kNotReady : 0;
  }
  if (answer.status == kOk) return 0;
  fmt::print(stderr, "trustbridge-sentinel: not ready: {} answered {}\n", http::own_url(server), answer.status);
  return kNotReady;
}

}  // namespace tb::sentinel
