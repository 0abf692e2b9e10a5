#include "bench/http_load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "base/fs.h"
#include "bench/cost.h"

namespace tb::bench {
namespace {

double thread_cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_THREAD, &used);
  double sum = 0;
  for (const timeval& time : {used.ru_utime, used.ru_stime}) {
    sum += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  }
  return sum;
}

/// Answers with a Content-Length and nothing else: what the control plane sends.
struct Answer {
  int status = 0;
  std::string_view body;
  std::size_t bytes = 0;  ///< of head and body; 0: not whole yet
};

Answer parse_answer(std::string_view held) {
  const std::size_t head_end = held.find("\r\n\r\n");
  if (head_end == std::string_view::npos) return {};
  constexpr std::string_view kLength = "\r\nContent-Length: ";
  const std::size_t at = held.substr(0, head_end).find(kLength);
  if (at == std::string_view::npos || held.size() < 12) throw std::runtime_error("an answer without Content-Length");
  std::size_t length = 0;
  std::from_chars(held.data() + at + kLength.size(), held.data() + head_end, length);
  if (held.size() < head_end + 4 + length) return {};
  Answer answer{.status = 0, .body = held.substr(head_end + 4, length), .bytes = head_end + 4 + length};
  std::from_chars(held.data() + 9, held.data() + 12, answer.status);
  return answer;
}

struct Link {
  Fd fd;
  std::string held;
  std::size_t shot = 0;
  double sent_at = 0;
  bool busy = false;
};

class Run {
 public:
  Run(const HttpLoadOptions& options, const std::vector<Shot>& shots,
      const std::function<void(std::size_t, std::string_view)>& on_answer)
      : options_(options), shots_(shots), on_answer_(on_answer), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    links_.resize(options.connections);
    for (std::size_t i = links_.size(); i-- > 0;) free_.push_back(i);
    load_.latency.reserve(shots.size());
  }

  Load go() {
    if (!options_.fresh_connections) {
      for (Link& link : links_) open(link);
    }
    const double cpu = thread_cpu_seconds();
    start_ = seconds_now();
    while (done_ < shots_.size()) {
      send_what_is_due();
      wait();
    }
    load_.wall = seconds_now() - start_;
    load_.generator_cpu = thread_cpu_seconds() - cpu;
    return std::move(load_);
  }

 private:
  void open(Link& link) {
    link.fd = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(options_.port);
    if (connect(link.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("the server does not listen");
    }
    const int on = 1;
    setsockopt(link.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{.events = EPOLLIN, .data = {.u64 = static_cast<std::uint64_t>(&link - links_.data())}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, link.fd.get(), &event);
    ++load_.connected;
  }

  void send_what_is_due() {
    while (next_ < shots_.size() && !free_.empty()) {
      const double now = seconds_now() - start_;
      if (shots_[next_].due_seconds > now) return;
      Link& link = links_[free_.back()];
      free_.pop_back();
      link.busy = true;
      link.shot = next_++;
      // Of a closed loop from when the connection was free for it.
      link.sent_at = shots_[link.shot].due_seconds > 0 ? shots_[link.shot].due_seconds : now;
      if (!link.fd) open(link);
      const std::string& bytes = shots_[link.shot].bytes;
      // A request is smaller than a socket's buffer.
      if (send(link.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
        end(link, "a request could not be sent");
      }
    }
  }

  void wait() {
    timespec most{.tv_sec = 1, .tv_nsec = 0};
    if (next_ < shots_.size() && !free_.empty()) {
      const double left = std::clamp(shots_[next_].due_seconds - (seconds_now() - start_), 0.0, 1.0);
      most = {.tv_sec = static_cast<time_t>(left), .tv_nsec = static_cast<long>(std::fmod(left, 1.0) * 1e9)};
    }
    std::array<epoll_event, 64> events{};
    const int count = epoll_pwait2(epoll_.get(), events.data(), events.size(), &most, nullptr);
    for (int i = 0; i < count; ++i) receive(links_[events[static_cast<std::size_t>(i)].data.u64]);
  }

  void receive(Link& link) {
    std::array<char, 16384> buffer;
    const ssize_t n = recv(link.fd.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) {
      link.fd = Fd();
      if (link.busy) end(link, "the server closed a connection before its answer");
      return;
    }
    link.held.append(buffer.data(), static_cast<std::size_t>(n));
    const Answer answer = parse_answer(link.held);
    if (answer.bytes == 0) return;
    load_.latency.push_back(seconds_now() - start_ - link.sent_at);
    if (answer.status == 200) {
      on_answer_(link.shot, answer.body);
      end(link, "");
    } else {
      end(link, std::to_string(answer.status) + " " + std::string(answer.body));
    }
  }

  void end(Link& link, std::string bad) {
    if (!bad.empty()) load_.bad.push_back(std::move(bad));
    link.held.clear();
    link.busy = false;
    if (options_.fresh_connections) link.fd = Fd();
    free_.push_back(static_cast<std::size_t>(&link - links_.data()));
    ++done_;
  }

  const HttpLoadOptions& options_;
  const std::vector<Shot>& shots_;
  const std::function<void(std::size_t, std::string_view)>& on_answer_;
  Fd epoll_;
  std::vector<Link> links_;
  std::vector<std::size_t> free_;
  std::size_t next_ = 0;
  std::size_t done_ = 0;
  double start_ = 0;
  Load load_;
};

}  // namespace

double Load::percentile(double part) const {
  if (latency.empty()) return 0;
  std::vector<double> sorted = latency;
  std::ranges::sort(sorted);
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(part * static_cast<double>(sorted.size())))];
}

Load send_all(const HttpLoadOptions& options, const std::vector<Shot>& shots,
              const std::function<void(std::size_t index, std::string_view body)>& on_answer) {
  return Run(options, shots, on_answer).go();
}

}  // namespace tb::bench
