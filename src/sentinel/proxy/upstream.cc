#include "sentinel/proxy/upstream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tb::sentinel::proxy {
namespace {

/// Neither ended nor readable: whatever stands there was not asked for.
bool is_quiet(int fd) {
  char byte = 0;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  template <typename T>
  void set(const T& address) {
    std::memcpy(&storage, &address, sizeof address);
    bytes = sizeof address;
  }
};

bool resolve(const RuntimeAddress& address, SocketAddress& out) {
  if (address.is_unix()) {
    sockaddr_un path{};
    path.sun_family = AF_UNIX;
    if (address.unix_path.size() >= sizeof path.sun_path) return false;
    address.unix_path.copy(path.sun_path, sizeof path.sun_path - 1);
    out.set(path);
    return true;
  }
  sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(address.port), .sin_addr = {}, .sin_zero = {}};
  if (inet_pton(AF_INET, address.host.c_str(), &v4.sin_addr) == 1) {
    out.set(v4);
    return true;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  if (inet_pton(AF_INET6, address.host.c_str(), &v6.sin6_addr) != 1) return false;
  out.set(v6);
  return true;
}

}  // namespace

void UpstreamLink::on_ready(std::uint32_t events) {
  stream.note(events);
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) connecting_ = false;  // a failure shows at the first write
  if (user_ != nullptr) {
    user_->on_upstream();
  } else if (stream.hung_up() || !is_quiet(stream.fd())) {
    pool_.drop_kept(this);
  }
}

UpstreamPool::Acquired UpstreamPool::acquire(UpstreamUser& user) {
  while (!kept_.empty()) {
    if (poller_.now_ms() - kept_.back()->since_boot_ms_ > idle_ms_) {
      clear();  // all others are older
      break;
    }
    std::unique_ptr<UpstreamLink> last = std::move(kept_.back());
    kept_.pop_back();
    if (is_quiet(last->stream.fd())) {
      last->user_ = &user;
      return {std::move(last), Failure::kNone};
    }
    drop(std::move(last));
  }
  SocketAddress target;
  if (!resolve(address_, target)) return {nullptr, Failure::kUnreachable};
  Fd fd(socket(target.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return {nullptr, Failure::kUnreachable};
  const int on = 1;
  if (!address_.is_unix()) setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const bool connected = connect(fd.get(), reinterpret_cast<const sockaddr*>(&target.storage), target.bytes) == 0;
  if (!connected && errno != EINPROGRESS) {
    return {nullptr, errno == EAGAIN ? Failure::kBusy : Failure::kUnreachable};
  }
  auto link = std::make_unique<UpstreamLink>(*this, std::move(fd), !connected, generation_);
  if (!poller_.watch(link->stream.fd(), *link)) return {nullptr, Failure::kUnreachable};
  link->user_ = &user;
  ++connected_;
  return {std::move(link), Failure::kNone};
}

void UpstreamPool::keep(std::unique_ptr<UpstreamLink> link) {
  if (most_ == 0 || link->generation_ != generation_ || link->stream.hung_up()) return drop(std::move(link));
  if (kept_.size() >= most_) drop_kept(kept_.front().get());
  link->user_ = nullptr;
  link->since_boot_ms_ = poller_.now_ms();
  kept_.push_back(std::move(link));
}

void UpstreamPool::drop(std::unique_ptr<UpstreamLink> link) {
  link->user_ = nullptr;
  link->stream.close();
  poller_.retire(std::move(link));
}

void UpstreamPool::drop_kept(const UpstreamLink* link) {
  const auto it = std::ranges::find_if(kept_, [&](const auto& other) { return other.get() == link; });
  if (it == kept_.end()) return;
  std::unique_ptr<UpstreamLink> gone = std::move(*it);
  kept_.erase(it);
  drop(std::move(gone));
}

void UpstreamPool::set_address(RuntimeAddress address) {
  address_ = std::move(address);
  ++generation_;
  clear();
}

void UpstreamPool::clear() {
  for (auto& link : kept_) drop(std::move(link));
  kept_.clear();
}

}  // namespace tb::sentinel::proxy
