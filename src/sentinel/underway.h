// Requests that have not ended, so that what a crash interrupts is billed for what had come of it.
//
// The proxy's loop begins, counts and ends; the ledger's thread looks now and then at those that have lasted a while.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "meter/ledger.h"

namespace tb::sentinel {

class UnderwayBook {
 public:
  struct Note {
    meter::Underway request;  ///< its output_tokens are `output`
    std::int64_t began_boot_ms = 0;
    std::atomic<std::int64_t> output{0};
  };

  std::shared_ptr<Note> begin(meter::Underway request, std::int64_t boot_ms) {
    auto note = std::make_shared<Note>();
    note->request = std::move(request);
    note->began_boot_ms = boot_ms;
    const std::scoped_lock lock(mutex_);
    notes_.emplace(note.get(), note);
    return note;
  }
  void end(const std::shared_ptr<Note>& note) {
    const std::scoped_lock lock(mutex_);
    notes_.erase(note.get());
  }
  /// Those that began before `boot_ms`, with what has come of them so far.
  std::vector<meter::Underway> older_than(std::int64_t boot_ms) const {
    std::vector<meter::Underway> out;
    const std::scoped_lock lock(mutex_);
    for (const auto& [key, note] : notes_) {
      if (note->began_boot_ms >= boot_ms) continue;
      out.push_back(note->request);
      out.back().output_tokens = note->output.load(std::memory_order_relaxed);
    }
    return out;
  }
  std::size_t size() const {
    const std::scoped_lock lock(mutex_);
    return notes_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<const Note*, std::shared_ptr<Note>> notes_;
};

}  // namespace tb::sentinel
