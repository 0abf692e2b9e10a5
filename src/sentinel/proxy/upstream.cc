#include "sentinel/proxy/upstream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "sentinel/runtime/socket_address.h"

namespace tb::sentinel::proxy {
namespace {

constexpr std::int64_t kLatelyMs = 50;

/// Neither ended nor readable: whatever stands there was not asked for.
bool is_quiet(int fd) {
  char byte = 0;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

}  // namespace

void UpstreamLink::on_ready(std::uint32_t events) {
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
    // What has happened to it before this round was noted. Runtimes close what was idle for seconds: the rest of the
    // race is theirs.
    const bool used_lately = poller_.now_ms() - last->since_boot_ms_ < kLatelyMs && !last->stream.may_read();
    if (used_lately || is_quiet(last->stream.fd())) {
      last->user_ = &user;
      return {std::move(last), Failure::kNone};
    }
    drop(std::move(last));
  }
  if (connector_) {
    ask_connector(user);
    return {nullptr, Failure::kOnItsWay};
  }
  runtime::SocketAddress target;
  if (!runtime::resolve(address_, target)) return {nullptr, Failure::kUnreachable};
  Fd fd(socket(target.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return {nullptr, Failure::kUnreachable};
  const bool connected = connect(fd.get(), target.get(), target.bytes) == 0;
  if (!connected && errno != EINPROGRESS) {
    return {nullptr, errno == EAGAIN ? Failure::kBusy : Failure::kUnreachable};
  }
  auto link = adopt(std::move(fd), !connected);
  if (!link) return {nullptr, Failure::kUnreachable};
  link->user_ = &user;
  return {std::move(link), Failure::kNone};
}

std::unique_ptr<UpstreamLink> UpstreamPool::adopt(Fd fd, bool connecting) {
  const int on = 1;
  if (!address_.is_unix()) {
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    tune_for_loopback(fd.get());
  }
  auto link = std::make_unique<UpstreamLink>(*this, std::move(fd), connecting, generation_);
  if (!address_.is_unix()) link->stream.may_take_later();
  if (!poller_.watch(link->stream, *link)) return nullptr;
  ++connected_;
  return link;
}

void UpstreamPool::ask_connector(UpstreamUser& user) {
  {
    const std::scoped_lock lock(arrivals_->mutex);
    arrivals_->pool = this;
  }
  waiting_.push_back(&user);
  connector_->connect([arrivals = arrivals_, generation = generation_](Fd fd) {
    const auto owned = std::make_shared<Fd>(std::move(fd));
    const std::scoped_lock lock(arrivals->mutex);
    if (UpstreamPool* pool = arrivals->pool) {
      pool->poller_.post([pool, owned, generation] { pool->arrived(std::move(*owned), generation); });
    }
  });
}

/// Each goes to whoever has waited longest. One for which nobody waits any more is kept if it can be used at once.
void UpstreamPool::arrived(Fd fd, std::uint64_t generation) {
  if (generation != generation_) return;  // those who waited were told
  auto link = fd ? adopt(std::move(fd), true) : nullptr;
  if (waiting_.empty()) {
    if (!link) return;
    return is_quiet(link->stream.fd()) ? keep(std::move(link)) : drop(std::move(link));
  }
  UpstreamUser* const user = waiting_.front();
  waiting_.erase(waiting_.begin());
  if (link) link->user_ = user;
  user->on_connection(std::move(link));
}

void UpstreamPool::forget(const UpstreamUser& user) {
  std::erase(waiting_, &user);
}

UpstreamPool::~UpstreamPool() {
  const std::scoped_lock lock(arrivals_->mutex);
  arrivals_->pool = nullptr;
}

void UpstreamPool::keep(std::unique_ptr<UpstreamLink> link) {
  if (most_ == 0 || link->generation_ != generation_ || link->stream.hung_up() || !link->stream.take()) {
    return drop(std::move(link));
  }
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

void UpstreamPool::set_address(RuntimeAddress address, std::shared_ptr<runtime::Connector> connector) {
  address_ = std::move(address);
  connector_ = std::move(connector);
  ++generation_;
  clear();
  for (UpstreamUser* user : std::exchange(waiting_, {})) user->on_connection(nullptr);
}

void UpstreamPool::clear() {
  for (auto& link : kept_) drop(std::move(link));
  kept_.clear();
}

}  // namespace tb::sentinel::proxy
