// Requests that have not ended, so that what a crash interrupts is billed for what had come of it.
//
// The proxy's loop begins, counts and ends; the ledger's thread looks now and then at those that have lasted a while.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <string_view>
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
  /// A request has one from its begin() to its end().
  using Place = std::list<Note>::iterator;

  Place begin(std::string_view request_id, std::string_view subject, std::string_view path, std::string_view model,
              std::int64_t input_tokens, std::int64_t boot_ms) {
    const std::scoped_lock lock(mutex_);
    if (spare_.empty()) spare_.emplace_back();
    notes_.splice(notes_.begin(), spare_, spare_.begin());
    Note& note = notes_.front();
    note.request.request_id = request_id;
    note.request.subject = subject;
    note.request.path = path;
    note.request.model = model;
    note.request.input_tokens = input_tokens;
    note.began_boot_ms = boot_ms;
    note.output.store(0, std::memory_order_relaxed);
    return notes_.begin();
  }
  void end(Place place) {
    const std::scoped_lock lock(mutex_);
    if (spare_.size() < kMostSpare) {
      spare_.splice(spare_.begin(), notes_, place);
    } else {
      notes_.erase(place);
    }
  }
  /// Those that began before `boot_ms`, with what has come of them so far.
  std::vector<meter::Underway> older_than(std::int64_t boot_ms) const {
    std::vector<meter::Underway> out;
    const std::scoped_lock lock(mutex_);
    for (const Note& note : notes_) {
      if (note.began_boot_ms >= boot_ms) continue;
      out.push_back(note.request);
      out.back().output_tokens = note.output.load(std::memory_order_relaxed);
    }
    return out;
  }
  std::size_t size() const {
    const std::scoped_lock lock(mutex_);
    return notes_.size();
  }

 private:
  static constexpr std::size_t kMostSpare = 256;  ///< kept with their memory for the next requests
  mutable std::mutex mutex_;
  std::list<Note> notes_, spare_;
};

}  // namespace tb::sentinel
