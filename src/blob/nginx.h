// For tests only: a real nginx over a directory, on loopback, started and ended by the test, unprivileged.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>

#include "base/crypto.h"
#include "base/fs.h"
#include "blob/child_server.h"

namespace tb::blob {

class Nginx {
 public:
  struct Options {
    std::string server_lines = {};  ///< more directives of the server: limit_rate 100k;
    std::string cert_path = {};     ///< PEM; with key_path: https
    std::string key_path = {};
  };

  static bool installed() { return access(kProgram, X_OK) == 0; }

  /// Serves root() at url(). Throws if it does not come up.
  explicit Nginx(const std::string& directory) : Nginx(directory, Options{}) {}
  Nginx(const std::string& directory, const Options& options)
      : directory_(directory), tls_(!options.cert_path.empty()), port_(ChildServer::free_port()) {
    std::filesystem::create_directories(root());
    const std::string user = geteuid() == 0 ? "user root;\n" : "";
    const std::string tls = tls_ ? fmt::format("ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
                                               options.cert_path, options.key_path)
                                 : "";
    value_or_throw(
        write_file_atomically(directory + "/nginx.conf",
                              fmt::format(R"({user}daemon off;
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{ listen 127.0.0.1:{port}{ssl}; root {root}; {tls} {more} }}
}}
)",
                                          fmt::arg("user", user), fmt::arg("dir", directory), fmt::arg("port", port_),
                                          fmt::arg("root", root()), fmt::arg("ssl", tls_ ? " ssl" : ""),
                                          fmt::arg("tls", tls), fmt::arg("more", options.server_lines)),
                              0600, true));
    const std::string log = directory + "/error.log";
    process_.emplace(std::vector<std::string>{kProgram, "-p", directory, "-c", directory + "/nginx.conf", "-e", log},
                     std::vector<std::string>{}, port_, log);
  }

  std::string root() const { return directory_ + "/www"; }
  std::uint16_t port() const { return port_; }
  std::string url(const std::string& name) const {
    return fmt::format("{}://127.0.0.1:{}/{}", tls_ ? "https" : "http", port_, name);
  }

 private:
  static constexpr const char* kProgram = "/usr/sbin/nginx";
  std::string directory_;
  bool tls_;
  std::uint16_t port_;
  std::optional<ChildServer> process_;
};

}  // namespace tb::blob
