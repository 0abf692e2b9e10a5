#include "sentinel/proxy/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "base/clock.h"
#include "base/error.h"

namespace tb::sentinel::proxy {
namespace {

/// Few, so that none waits long for the others' turn; a crowd still (Session::waits_for_the_round).
constexpr int kEventsPerRound = 32;

bool add(int epoll, int fd, std::uint32_t events, void* whom) {
  epoll_event event{.events = events, .data = {.ptr = whom}};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

Poller::Poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!epoll_ || !wake_ || !add(epoll_.get(), wake_.get(), EPOLLIN, nullptr)) throw error_from_errno(errno, "epoll");
  take_time();
}

void Poller::take_time() {
  now_ms_ = boot_ms_now();
}

bool Poller::watch_listener(int fd, Watched& watched) {
  return add(epoll_.get(), fd, EPOLLIN, &watched);
}

void Poller::forget(int fd) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Poller::round(std::int64_t ms) {
  std::array<epoll_event, kEventsPerRound> events;
  const int timeout = ms < 0 ? -1 : static_cast<int>(std::min<std::int64_t>(ms, 3'600'000));
  const int count = epoll_wait(epoll_.get(), events.data(), kEventsPerRound, timeout);
  take_time();
  const std::span ready(events.data(), static_cast<std::size_t>(std::max(count, 0)));
  crowd_ = ready.size();
  for (const epoll_event& event : ready) {
    if (event.data.ptr != nullptr) static_cast<Watched*>(event.data.ptr)->note(event.events);
  }
  bool woken = false;
  for (const epoll_event& event : ready) {
    if (event.data.ptr == nullptr) {
      woken = true;
    } else {
      static_cast<Watched*>(event.data.ptr)->on_ready(event.events);
    }
  }
  crowd_ = 0;
  if (woken) {
    std::uint64_t times = 0;
    (void)!read(wake_.get(), &times, sizeof times);
    std::vector<std::function<void()>> jobs;
    {
      const std::scoped_lock lock(mutex_);
      jobs.swap(posted_);
    }
    for (const auto& job : jobs) job();
  }
  retired_.clear();
}

void Poller::post(std::function<void()> job) {
  {
    const std::scoped_lock lock(mutex_);
    posted_.push_back(std::move(job));
  }
  const std::uint64_t once = 1;
  (void)!write(wake_.get(), &once, sizeof once);
}

}  // namespace tb::sentinel::proxy
