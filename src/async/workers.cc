#include "async/workers.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace tb::async {

struct Workers::Impl {
  struct Sleeper {
    std::condition_variable wake;
    bool woken = false;
  };

  void run(Sleeper& own) {
    std::unique_lock lock(mutex);
    for (;;) {
      while (!stopping && jobs.empty()) {
        sleepers.push_back(&own);
        own.woken = false;
        own.wake.wait(lock, [&] { return own.woken; });
      }
      if (jobs.empty()) return;
      Job job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      has_room.notify_one();
      try {
        job();
      } catch (...) {
        if (on_fault) on_fault(std::current_exception());
      }
      job = {};  // what the job owns dies on this thread, outside the lock
      lock.lock();
    }
  }
  void push(Job&& job, std::unique_lock<std::mutex>& lock) {
    jobs.push_back(std::move(job));
    if (sleepers.empty()) return;
    // The one that fell asleep last: its stack and its share of the heap are still in a cache.
    Sleeper* sleeper = sleepers.back();
    sleepers.pop_back();
    sleeper->woken = true;
    lock.unlock();
    sleeper->wake.notify_one();
  }

  std::size_t bound = 0;
  FaultHandler on_fault;
  mutable std::mutex mutex;
  std::vector<Sleeper*> sleepers;  ///< threads without a job
  std::condition_variable has_room;
  std::deque<Job> jobs;
  bool stopping = false;
  std::mutex join_mutex;
  std::deque<Sleeper> beds;  ///< one for each thread
  std::vector<std::thread> threads;
  std::size_t thread_count = 0;
};

Workers::Workers(std::string name, std::size_t threads, std::size_t queue, FaultHandler on_fault)
    : impl_(std::make_unique<Impl>()) {
  impl_->bound = std::max<std::size_t>(queue, 1);
  impl_->on_fault = std::move(on_fault);
  impl_->thread_count = std::max<std::size_t>(threads, 1);
  for (std::size_t i = 0; i < impl_->thread_count; ++i) {
    auto& bed = impl_->beds.emplace_back();
    auto& thread = impl_->threads.emplace_back([impl = impl_.get(), &bed] { impl->run(bed); });
    pthread_setname_np(thread.native_handle(), name.substr(0, 15).c_str());
  }
}

Workers::~Workers() {
  stop();
}

bool Workers::try_submit(Job&& job) {
  std::unique_lock lock(impl_->mutex);
  if (impl_->stopping || impl_->jobs.size() >= impl_->bound) return false;
  impl_->push(std::move(job), lock);
  return true;
}

bool Workers::submit(Job job) {
  std::unique_lock lock(impl_->mutex);
  impl_->has_room.wait(lock, [&] { return impl_->stopping || impl_->jobs.size() < impl_->bound; });
  if (impl_->stopping) return false;
  impl_->push(std::move(job), lock);
  return true;
}

void Workers::stop() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    for (Impl::Sleeper* sleeper : impl_->sleepers) sleeper->woken = true;
    impl_->sleepers.clear();
  }
  for (auto& bed : impl_->beds) bed.wake.notify_all();
  impl_->has_room.notify_all();
  std::lock_guard lock(impl_->join_mutex);
  for (auto& thread : impl_->threads) {
    if (thread.joinable()) thread.join();
  }
}

std::size_t Workers::threads() const {
  return impl_->thread_count;
}

std::size_t Workers::waiting() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->jobs.size();
}

}  // namespace tb::async
