// The table says what it means, and each closed path is closed to every method and spelling.
#include "sentinel/proxy/allowed_paths.h"

#include <gtest/gtest.h>

#include <set>

#include "sentinel/proxy/rules.h"

namespace tb::sentinel::proxy {
namespace {

/// A path that `pattern` means.
std::string example_of(std::string_view pattern) {
  std::string out(pattern);
  for (std::size_t open = out.find('{'); open != std::string::npos; open = out.find('{')) {
    out.replace(open, out.find('}', open) - open + 1, "tiny-1.5:q4_K");
  }
  return out;
}

int status_of(std::string_view method, const std::string& target) {
  const auto match = AllowList().match(method, target);
  return match ? 200 : match.error().status;
}

TEST(AllowedPaths, EachOpenPathIsOpenByItsMethodOnly) {
  std::set<std::string> seen;
  for (const Route& route : all_routes()) {
    const std::string path = example_of(route.pattern);
    EXPECT_TRUE(seen.insert(std::string(route.method) + " " + path).second) << "twice: " << path;
    EXPECT_EQ(status_of(route.method, path), 200) << path;
    for (const char* method : {"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "get"}) {
      EXPECT_EQ(status_of(method, path), 405) << method << " " << path;
    }
    EXPECT_EQ(find_route(route.method, path + "?a=b"), &route);
    EXPECT_TRUE(is_known_pattern(route.pattern));
    EXPECT_FALSE(route.api.empty());
  }
  EXPECT_EQ(find_route("GET", "/v1/chat/completions"), nullptr);
  EXPECT_EQ(find_route("POST", "/v1/chat/completions/"), nullptr);
}

TEST(AllowedPaths, EachAdministrativePathIsClosed) {
  EXPECT_GE(closed_paths().size(), 60U);
  for (const ClosedPath& closed : closed_paths()) {
    EXPECT_FALSE(closed.why.empty()) << closed.path;
    const std::string path = example_of(closed.path);
    for (const char* method : {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}) {
      EXPECT_EQ(status_of(method, path), 403) << method << " " << path;
      EXPECT_EQ(status_of(method, path + "?x=/v1/models"), 403) << method << " " << path;
      EXPECT_EQ(status_of(method, path + "/"), 403) << method << " " << path;
      EXPECT_EQ(status_of(method, "/v1/.." + path), 403) << method << " " << path;
      EXPECT_EQ(status_of(method, "/v1/models/.." + path), 403) << method << " " << path;
      EXPECT_EQ(status_of(method, "/" + path), 403) << method << " " << path;
      if (path.size() > 1) EXPECT_EQ(status_of(method, "/%" + path.substr(1)), 403) << method << " " << path;
    }
  }
}

TEST(AllowedPaths, WhatNobodyHasHeardOfIsClosed) {
  for (const char* path : {"/admin", "/v1", "/v1/files", "/v1/fine_tuning/jobs", "/v1/images/generations",
                           "/v1/audio/speech", "/v1/batches", "/v3/models", "/v2/models", "/v2/models/a/b/c/infer",
                           "/.well-known/x", "/favicon.ico", "/server-status", "/debug/pprof"}) {
    EXPECT_EQ(status_of("GET", path), 403) << path;
    EXPECT_EQ(status_of("POST", path), 403) << path;
  }
}

TEST(AllowedPaths, OperationsHaveNames) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kOperations; ++i) names.insert(operation_name(static_cast<Operation>(i)));
  EXPECT_EQ(names.size(), kOperations);
}

}  // namespace
}  // namespace tb::sentinel::proxy
