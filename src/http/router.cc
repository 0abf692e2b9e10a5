#include "http/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace tb::http {

namespace {

constexpr std::size_t kMaxPathBytes = 2048;

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    segments.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return segments;
}

bool is_parameter(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

/// The pattern with its parameters' names blanked: two routes may not share it.
std::string shape(const std::vector<std::string>& segments) {
  std::string out;
  for (const auto& segment : segments) out += "/" + (is_parameter(segment) ? "{}" : segment);
  return out;
}

}  // namespace

bool is_plain_path(std::string_view path) {
  if (path.empty() || path[0] != '/' || path.size() > kMaxPathBytes) return false;
  constexpr std::string_view kMarks = "-._~!$&'()*+,=:@/";
  const bool plain = std::ranges::all_of(path, [&](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
  if (!plain || path.find("//") != std::string_view::npos) return false;
  return std::ranges::none_of(split(path), [](std::string_view segment) { return segment == "." || segment == ".."; });
}

Router::Router(std::vector<Route> routes, Gate gate) : routes_(std::move(routes)), gate_(std::move(gate)) {
  std::set<std::string> seen;
  for (const Route& route : routes_) {
    if (!route.handler) throw Error("internal", fmt::format("route {} {} has no handler", route.method, route.pattern));
    std::string bare;
    std::vector<std::string>& segments = segments_.emplace_back();
    if (!route.pattern.empty()) {
      for (const auto segment : split(route.pattern)) segments.emplace_back(segment);
    }
    for (const auto& segment : segments) bare += "/" + (is_parameter(segment) ? "x" : segment);
    if (!route.pattern.starts_with('/') || !is_plain_path(bare)) {
      throw Error("internal", fmt::format("route {} {} is malformed", route.method, route.pattern));
    }
    if (route.method == "HEAD" || !seen.insert(route.method + " " + shape(segments)).second) {
      throw Error("internal", fmt::format("route {} {} stands there twice", route.method, route.pattern));
    }
  }
}

Router::Match Router::match(std::string_view method, std::string_view path) const {
  Match best;
  std::size_t best_literals = 0;
  std::set<std::string> allowed;
  if (!is_plain_path(path)) return best;
  const auto parts = split(path);
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  for (std::size_t r = 0; r < routes_.size(); ++r) {
    const auto& segments = segments_[r];
    if (segments.size() != parts.size()) continue;
    std::size_t literals = 0;
    std::vector<std::pair<std::string, std::string>> params;
    bool fits = true;
    for (std::size_t i = 0; fits && i < parts.size(); ++i) {
      if (is_parameter(segments[i])) {
        fits = !parts[i].empty();
        params.emplace_back(segments[i].substr(1, segments[i].size() - 2), parts[i]);
      } else {
        fits = parts[i] == segments[i];
        ++literals;
      }
    }
    if (!fits) continue;
    allowed.insert(routes_[r].method);
    if (routes_[r].method == "GET") allowed.insert("HEAD");
    // A literal segment is more exact than a parameter: "/assets/new" before "/assets/{id}".
    if (routes_[r].method == wanted && (!best.route || literals > best_literals)) {
      best.route = &routes_[r];
      best.params = std::move(params);
      best_literals = literals;
    }
  }
  if (!best.route) best.allow = fmt::format("{}", fmt::join(allowed, ", "));
  return best;
}

}  // namespace tb::http
