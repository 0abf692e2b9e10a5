// For tests only: a LyingServer, a client and an HttpSource over them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "blob/http_source.h"
#include "blob/lying_server.h"

namespace tb::blob {

inline Bytes pattern(std::size_t bytes) {
  Bytes out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 251);
  return out;
}

/// A client that gives up after a second without a byte.
inline http::ClientConfig quick() {
  http::ClientConfig config;
  config.stall_timeout_ms = 1000;
  config.use_proxy_environment = false;
  return config;
}

/// A server, a client and a source over them.
struct LyingFixture {
  explicit LyingFixture(LyingServer::OnRequest lie = nullptr, UrlProvider::Renew renew = nullptr,
                        std::size_t bytes = 5000)
      : blob(pattern(bytes)),
        server(blob, std::move(lie)),
        client(quick()),
        urls(std::make_shared<UrlProvider>(SecretUrl(server.url()), std::move(renew))),
        source(client, urls) {}

  Bytes read(std::uint64_t offset, std::uint64_t bytes) {
    Bytes got;
    source.fetch(offset, bytes, [&](ByteView piece) { got.insert(got.end(), piece.begin(), piece.end()); });
    return got;
  }
  /// What reading fails with; nullopt if it does not.
  std::optional<FetchError> failure(std::uint64_t offset = 100, std::uint64_t bytes = 1000) {
    Bytes got;
    const auto told = [&](FetchError error) {
      EXPECT_EQ(error.story().find("sig="), std::string::npos) << "a signature in: " << error.story();
      // Whatever was given is a prefix of what was asked for.
      EXPECT_LE(got.size(), bytes);
      EXPECT_TRUE(std::equal(got.begin(), got.end(), blob.begin() + static_cast<std::ptrdiff_t>(offset)));
      return error;
    };
    try {
      source.fetch(offset, bytes, [&](ByteView piece) { got.insert(got.end(), piece.begin(), piece.end()); });
    } catch (const FetchError& error) {
      return told(error);
    } catch (const Error& error) {
      return told(FetchError(error));
    }
    return std::nullopt;
  }
  std::string refusal(std::uint64_t offset = 100, std::uint64_t bytes = 1000) {
    const auto error = failure(offset, bytes);
    return error ? std::string(error->reason) : "";
  }

  Bytes blob;
  LyingServer server;
  http::Client client;
  std::shared_ptr<UrlProvider> urls;
  HttpSource source;
};

}  // namespace tb::blob
