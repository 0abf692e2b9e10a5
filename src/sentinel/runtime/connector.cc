#include "sentinel/runtime/connector.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <future>
#include <memory>
#include <optional>

#include "async/stop.h"
#include "sentinel/runtime/confined_init.h"

namespace tb::sentinel::runtime {
namespace {

constexpr std::size_t kMostWaiting = 8192;
constexpr int kAnswerMs = 5'000;
constexpr int kMostTries = 500;  ///< of a connection to a unix socket whose queue is full, with a pause between them
constexpr std::chrono::milliseconds kPause{2};

/// A descriptor that init sent is believed to be no more than it proves to be.
bool is_stream_socket(int fd) {
  int type = 0;
  int domain = 0;
  socklen_t bytes = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) != 0 || type != SOCK_STREAM) return false;
  bytes = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 &&
         (domain == AF_UNIX || domain == AF_INET || domain == AF_INET6);
}

struct Answer {
  bool broken = false;      ///< the control socket is of no use any more
  bool queue_full = false;  ///< the runtime will take it when it has taken others
  Fd socket;
};

Answer ask(int control) {
  const char request = kConnect;
  if (send(control, &request, 1, MSG_NOSIGNAL) != 1) return {.broken = true};
  pollfd wait{control, POLLIN, 0};
  // An answer that comes late would be taken for the next one's: then the socket is given up.
  if (poll(&wait, 1, kAnswerMs) != 1) return {.broken = true};
  char text[16];
  iovec part{text, sizeof text};
  alignas(cmsghdr) char room[CMSG_SPACE(4 * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  const ssize_t got = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
  if (got <= 0) return {.broken = true};
  Answer answer;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = 0; at + CMSG_LEN(sizeof(int)) <= head->cmsg_len; at += sizeof(int)) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(head) + at, sizeof number);
      Fd fd(number);
      if (!answer.socket && is_stream_socket(fd.get())) answer.socket = std::move(fd);
    }
  }
  if (text[0] != kSocket) answer.socket.reset();
  int error = 0;
  if (text[0] == kNoSocket && static_cast<std::size_t>(got) >= 1 + sizeof error)
    std::memcpy(&error, text + 1, sizeof error);
  answer.queue_full = error == EAGAIN;
  return answer;
}

}  // namespace

Connector::Connector() : thread_([this](const std::stop_token& stop) { serve(stop); }) {}

Connector::~Connector() {
  use(Fd());
  thread_.request_stop();
}

void Connector::connect(Done done) {
  {
    const std::scoped_lock lock(mutex_);
    if (control_ && waiting_.size() < kMostWaiting) {
      waiting_.push_back(std::move(done));
      changed_.notify_one();
      return;
    }
  }
  done(Fd());
}

Fd Connector::connect_within(std::int64_t timeout_ms) {
  const auto promise = std::make_shared<std::promise<Fd>>();
  auto future = promise->get_future();
  connect([promise](Fd fd) { promise->set_value(std::move(fd)); });
  if (future.wait_for(std::chrono::milliseconds(timeout_ms)) != std::future_status::ready) return Fd();
  return future.get();
}

void Connector::use(Fd control) {
  std::deque<Done> dropped;
  {
    const std::scoped_lock lock(mutex_);
    dropped.swap(waiting_);
    ++generation_;
    control_ = control ? std::make_shared<Fd>(std::move(control)) : nullptr;
  }
  for (Done& done : dropped) done(Fd());
}

bool Connector::is_current(std::uint64_t generation) {
  const std::scoped_lock lock(mutex_);
  return generation == generation_;
}

void Connector::serve(const std::stop_token& stop) {
  while (true) {
    Done done;
    std::shared_ptr<Fd> control;
    std::uint64_t generation = 0;
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [this] { return !waiting_.empty(); })) return;
      done = std::move(waiting_.front());
      waiting_.pop_front();
      control = control_;
      generation = generation_;
    }
    Answer answer = control ? ask(control->get()) : Answer{};
    for (int tries = 1; answer.queue_full && tries < kMostTries && is_current(generation); ++tries) {
      if (!async::sleep_unless_stopped(stop, kPause)) break;
      answer = ask(control->get());
    }
    {
      const std::scoped_lock lock(mutex_);
      if (generation != generation_) {
        answer.socket.reset();
      } else if (answer.broken) {
        control_.reset();
      }
    }
    done(std::move(answer.socket));
  }
}

}  // namespace tb::sentinel::runtime
