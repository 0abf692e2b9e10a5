#include "sentinel/runtime/supervisor.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "async/stop.h"
#include "base/clock.h"
#include "base/error.h"

namespace tb::sentinel::runtime {
namespace {

constexpr std::size_t kMaxLogLineBytes = 2048;
constexpr int kPollMs = 100;
constexpr int kMaxReads = 64;

}  // namespace

Supervisor::Supervisor(obs::Log log, SupervisorOptions options)
    : log_(std::move(log)), options_(options), output_(options.output_burst_bytes, options.output_bytes_per_second) {}

Supervisor::~Supervisor() {
  stop();
}

std::unique_ptr<Child> Supervisor::start_child() {
  auto child = std::make_unique<Child>(spec_);
  if (spec_.confinement) connector_->use(child->take_control());
  return child;
}

void Supervisor::start(ChildSpec spec) {
  stop();
  spec_ = std::move(spec);
  if (spec_.confinement && connector() == nullptr) {
    const std::scoped_lock lock(mutex_);
    connector_ = std::make_shared<Connector>();
  }
  auto child = start_child();
  log_.info("runtime started", {{"pid", child->pid()}});
  {
    const std::scoped_lock lock(mutex_);
    child_ = std::move(child);
    view_ = {.supervised = true, .running = true};
    ++generation_;
  }
  watch_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

void Supervisor::stop() {
  if (watch_.joinable()) {
    watch_.request_stop();
    watch_.join();
  }
  if (const auto connector = this->connector()) connector->use(Fd());
  const std::scoped_lock lock(mutex_);
  view_.running = false;
  child_.reset();
}

std::shared_ptr<Connector> Supervisor::connector() const {
  const std::scoped_lock lock(mutex_);
  return connector_;
}

RuntimeView Supervisor::view() const {
  const std::scoped_lock lock(mutex_);
  return view_;
}

std::uint64_t Supervisor::generation() const {
  const std::scoped_lock lock(mutex_);
  return generation_;
}

void Supervisor::forward_line(std::string_view line) {
  if (!output_.take(line.size() + 1, boot_ms_now())) return;
  if (const std::uint64_t bytes = output_.take_left_out(); bytes > 0) {
    log_.warn("some of what the runtime printed was left out", {{"bytes", bytes}});
  }
  log_.info(line);
}

/// Lines as they come; one that is longer than a log line is cut into several.
void Supervisor::forward_output(Child& child, std::string& partial) {
  char buffer[4096];
  // So much at once that a runtime that never stops printing cannot keep us from seeing that it is to end.
  for (int reads = 0; reads < kMaxReads; ++reads) {
    const ssize_t got = read(child.output_fd(), buffer, sizeof buffer);
    if (got <= 0) return;
    partial.append(buffer, static_cast<std::size_t>(got));
    for (std::size_t end = partial.find('\n'); end != std::string::npos || partial.size() >= kMaxLogLineBytes;
         end = partial.find('\n')) {
      const std::size_t bytes = std::min({end, partial.size(), kMaxLogLineBytes});
      if (bytes > 0) forward_line(std::string_view(partial).substr(0, bytes));
      partial.erase(0, bytes + (bytes == end ? 1 : 0));
    }
  }
}

void Supervisor::watch(const std::stop_token& stop) {
  std::string partial;
  std::int64_t pause_ms = options_.first_pause_ms;
  std::int64_t started = boot_ms_now();
  Child* child = child_.get();
  while (!stop.stop_requested()) {
    pollfd wait{child->output_fd(), POLLIN, 0};
    if (poll(&wait, 1, kPollMs) > 0 && (wait.revents & POLLIN) == 0) poll(nullptr, 0, kPollMs);
    forward_output(*child, partial);
    const auto ending = child->ended();
    if (!ending) continue;
    forward_output(*child, partial);
    log_.warn("runtime ended", {{"how", *ending}});
    child->end(0);
    if (boot_ms_now() - started >= options_.steady_ms) pause_ms = options_.first_pause_ms;
    {
      const std::scoped_lock lock(mutex_);
      view_.running = false;
      view_.last_end = *ending;
    }
    while (!stop.stop_requested()) {
      if (!async::sleep_unless_stopped(stop, std::chrono::milliseconds(pause_ms))) break;
      pause_ms = std::min(pause_ms * 2, options_.max_pause_ms);
      try {
        auto next = start_child();
        started = boot_ms_now();
        log_.info("runtime started again", {{"pid", next->pid()}});
        const std::scoped_lock lock(mutex_);
        child_ = std::move(next);
        child = child_.get();
        view_.running = true;
        ++view_.restarts;
        ++generation_;
        break;
      } catch (const Error& error) {
        log_.error("runtime could not be started again", error);
      }
    }
  }
  child->end(options_.end_grace_ms);
  forward_output(*child, partial);
  log_.info("runtime is gone");
}

}  // namespace tb::sentinel::runtime
