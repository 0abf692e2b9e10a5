// For tests only: a stand-in for the blob service that keeps blocks as Azure does, CRC64 among it, and lies where a
// test wants. What Azurite can show is tested with Azurite (tests/cli/upload_azure.py); this is for faults, which it
// has none of.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "base/crc64.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "http/message.h"

namespace tb::azure {

class BlobStore {
 public:
  struct Asked {
    std::string method, path;
    http::Query query;
    http::Headers headers;
    std::uint64_t body_bytes = 0;
    int number = 0;  ///< among those of the same kind(), from 0
    /// "block", "list", "commit" (of a list), "HEAD", "GET", "PUT"
    std::string kind() const {
      const std::string comp = query.one("comp").value_or(method);
      return comp != "blocklist" ? comp : method == "GET" ? "list" : "commit";
    }
  };
  /// What happens instead of, or after, what is right.
  struct Lie {
    int status = 0;  ///< answered before the body is read
    std::string code;
    std::map<std::string, std::string> headers = {};
    bool endless_body = false;
    std::optional<std::uint64_t> reset_after_body_bytes;
    bool reset_after_effect = false;  ///< done, but nobody hears of it
    bool flip_a_bit = false;          ///< of the body, on its way
    bool stall = false;               ///< no answer until the store ends
  };
  /// Called by any of the store's threads.
  using OnRequest = std::function<std::optional<Lie>(const Asked&)>;
  struct Blob {
    std::string content, etag;
    std::map<std::string, std::string> fields;
  };

  explicit BlobStore(OnRequest on_request = nullptr) : on_request_(std::move(on_request)) {
    listener_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener_.get(), raw, size) != 0 || listen(listener_.get(), 64) != 0 ||
        getsockname(listener_.get(), raw, &size) != 0) {
      throw Error("internal", "the test's store cannot listen");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~BlobStore() {
    stop_ = true;
    acceptor_.join();
    for (std::thread& thread : threads_) thread.join();
  }
  BlobStore(const BlobStore&) = delete;
  BlobStore& operator=(const BlobStore&) = delete;

  std::string endpoint() const { return fmt::format("http://127.0.0.1:{}/{{account}}", port_); }
  void on_request(OnRequest function) {
    const std::lock_guard lock(mutex_);
    on_request_ = std::move(function);
    counts_.clear();
  }
  int count(const std::string& kind) const {
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(kind);
    return found == counts_.end() ? 0 : found->second;
  }
  std::optional<Blob> blob(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    const auto found = blobs_.find(path);
    return found == blobs_.end() ? std::nullopt : std::optional(found->second);
  }
  void put(const std::string& path, const std::string& content) {
    const std::lock_guard lock(mutex_);
    blobs_[path] = {content, fmt::format("\"{}\"", ++etags_), {}};
  }
  std::size_t uncommitted(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(path);
    return found == blocks_.end() ? 0 : found->second.size();
  }
  void remove(const std::string& path) {
    const std::lock_guard lock(mutex_);
    blobs_.erase(path);
  }

 private:
  struct Answer {
    int status = 200;
    std::string code, body;
    std::map<std::string, std::string> headers;
  };

  void accept_all() {
    while (!stop_) {
      pollfd ready{listener_.get(), POLLIN, 0};
      if (poll(&ready, 1, 20) <= 0) continue;
      const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0) threads_.emplace_back([this, fd] { serve(Fd(fd)); });
    }
  }

  bool receive(int fd, std::string& input) const {
    while (!stop_) {
      pollfd ready{fd, POLLIN, 0};
      if (poll(&ready, 1, 20) <= 0) continue;
      char buffer[65536];
      const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0) return false;
      input.append(buffer, static_cast<std::size_t>(n));
      return true;
    }
    return false;
  }

  void serve(Fd connection) {
    const int fd = connection.get();
    std::string input;
    for (;;) {
      std::size_t end = 0;
      while ((end = input.find("\r\n\r\n")) == std::string::npos) {
        if (!receive(fd, input)) return;
      }
      Asked asked = parse(input.substr(0, end + 2));
      input.erase(0, end + 4);
      OnRequest on_request;
      {
        const std::lock_guard lock(mutex_);
        asked.number = counts_[asked.kind()]++;
        on_request = on_request_;
      }
      const std::optional<Lie> lie = on_request ? on_request(asked) : std::nullopt;
      if (lie && lie->status != 0) {
        if (lie->endless_body) return send_endless(fd, lie->status);
        if (!answer(fd, asked, {lie->status, lie->code, "", lie->headers}, true)) return;
        return;
      }
      if (asked.headers.get("Expect") == "100-continue" && !send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n")) return;
      while (input.size() < asked.body_bytes) {
        if (lie && lie->reset_after_body_bytes && input.size() >= *lie->reset_after_body_bytes) return reset(fd);
        if (!receive(fd, input)) return;
      }
      std::string body = input.substr(0, asked.body_bytes);
      input.erase(0, asked.body_bytes);
      if (lie && lie->flip_a_bit && !body.empty()) body[body.size() / 2] ^= 1;
      Answer reply;
      {
        const std::lock_guard lock(mutex_);
        reply = effect(asked, body);
      }
      if (lie && lie->reset_after_effect) return reset(fd);
      if (lie && lie->stall) {
        while (!stop_) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        return;
      }
      if (!answer(fd, asked, reply, false)) return;
    }
  }

  static Asked parse(const std::string& head) {
    Asked asked;
    const std::size_t space = head.find(' ');
    asked.method = head.substr(0, space);
    const std::string target = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
    asked.path = target.substr(0, target.find('?'));
    if (target.contains('?')) asked.query = value_or_throw(http::Query::parse(target.substr(target.find('?') + 1)));
    for (std::size_t at = head.find("\r\n") + 2; at < head.size();) {
      const std::size_t end = head.find("\r\n", at), colon = head.find(':', at);
      asked.headers.add(head.substr(at, colon - at), head.substr(colon + 2, end - colon - 2));
      at = end + 2;
    }
    asked.body_bytes = std::strtoull(std::string(asked.headers.get("Content-Length")).c_str(), nullptr, 10);
    return asked;
  }

  Answer effect(const Asked& asked, const std::string& body) {
    const auto standing = blobs_.find(asked.path);
    const bool is_there = standing != blobs_.end();
    const std::string kind = asked.kind();
    if (kind == "block") {
      Crc64 crc;
      crc.update(as_bytes(body));
      if (asked.headers.get("x-ms-content-crc64") != to_base64(crc.bytes())) return {400, "Crc64Mismatch", "", {}};
      blocks_[asked.path][asked.query.one("blockid").value_or("")] = body;
      return {201, "", "", {}};
    }
    if (kind == "list") {
      std::string list = "<BlockList><UncommittedBlocks>";
      for (const auto& [id, block] : blocks_[asked.path]) {
        list += fmt::format("<Block><Name>{}</Name><Size>{}</Size></Block>", id, block.size());
      }
      return {200, "", list + "</UncommittedBlocks></BlockList>", {}};
    }
    if (asked.method == "PUT") {
      if (asked.headers.get("If-None-Match") == "*" && is_there) return {409, "BlobAlreadyExists", "", {}};
      if (const auto match = asked.headers.get("If-Match");
          !match.empty() && (!is_there || standing->second.etag != match)) {
        return {412, "ConditionNotMet", "", {}};
      }
      Blob blob{.content = body, .etag = fmt::format("\"{}\"", ++etags_)};
      if (kind == "commit") {
        blob.content.clear();
        for (std::size_t at = body.find("<Latest>"); at != std::string::npos; at = body.find("<Latest>", at + 1)) {
          const std::string id = body.substr(at + 8, body.find("</Latest>", at) - at - 8);
          if (!blocks_[asked.path].contains(id)) return {400, "InvalidBlockList", "", {}};
          blob.content += blocks_[asked.path][id];
        }
      }
      for (const auto& [name, value] : asked.headers.entries()) {
        if (name.starts_with("x-ms-meta-")) blob.fields[name] = value;
      }
      blocks_.erase(asked.path);
      blobs_[asked.path] = blob;
      return {201, "", "", {{"ETag", blob.etag}}};
    }
    if (!is_there) return {404, "BlobNotFound", "", {}};
    Answer answer{200, "", standing->second.content, standing->second.fields};
    answer.headers["ETag"] = standing->second.etag;
    return answer;
  }

  static bool answer(int fd, const Asked& asked, const Answer& reply, bool close) {
    std::string head = fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", reply.status, reply.body.size());
    if (close) head += "Connection: close\r\n";
    if (!reply.code.empty()) head += "x-ms-error-code: " + reply.code + "\r\n";
    for (const auto& [name, value] : reply.headers) head += name + ": " + value + "\r\n";
    return send_all(fd, head + "\r\n" + (asked.method == "HEAD" ? "" : reply.body));
  }

  void send_endless(int fd, int status) const {
    if (!send_all(fd, fmt::format("HTTP/1.1 {} X\r\nConnection: close\r\n\r\n", status))) return;
    const std::string piece(65536, '<');
    while (!stop_ && send_all(fd, piece)) {
    }
  }

  static void reset(int fd) {
    const linger hard{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }

  static bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  OnRequest on_request_;
  Fd listener_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_ = false;
  mutable std::mutex mutex_;
  std::map<std::string, int> counts_;
  std::map<std::string, Blob> blobs_;
  std::map<std::string, std::map<std::string, std::string>> blocks_;
  int etags_ = 0;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace tb::azure
