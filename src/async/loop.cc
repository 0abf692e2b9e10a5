#include "async/loop.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <optional>
#include <thread>

namespace tb::async {

namespace asio = boost::asio;

struct Loop::Impl {
  explicit Impl(FaultHandler on_fault_in) : on_fault(std::move(on_fault_in)), guard(asio::make_work_guard(io)) {}

  void run() {
    for (;;) {
      try {
        io.run();
        return;
      } catch (...) {
        if (on_fault) on_fault(std::current_exception());
      }
    }
  }
  void join() {
    if (thread.joinable()) thread.join();
  }

  asio::io_context io{1};
  FaultHandler on_fault;
  asio::executor_work_guard<asio::io_context::executor_type> guard;
  std::thread thread;
};

Loop::Loop(std::string name, FaultHandler on_fault) : impl_(std::make_unique<Impl>(std::move(on_fault))) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
  pthread_setname_np(impl_->thread.native_handle(), name.substr(0, 15).c_str());
}

Loop::~Loop() {
  stop();
}

boost::asio::io_context& Loop::io() {
  return impl_->io;
}

void Loop::post(std::function<void()> job) {
  asio::post(impl_->io, std::move(job));
}

bool Loop::is_current() const {
  return impl_->thread.get_id() == std::this_thread::get_id();
}

void Loop::drain() {
  impl_->guard.reset();
  impl_->join();
}

void Loop::stop() {
  impl_->guard.reset();
  impl_->io.stop();
  impl_->join();
}

}  // namespace tb::async
