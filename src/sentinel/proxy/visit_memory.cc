#include <array>
#include <new>
#include <vector>

#include "sentinel/proxy/filter.h"

namespace tb::sentinel::proxy {
namespace {

constexpr std::size_t kClassBytes = 64, kClasses = 160, kMostOfAClass = 128;

/// Places that ended visits have left, by their size. Of one thread.
class Spare {
 public:
  ~Spare() {
    for (auto& places : classes_) {
      for (void* const place : places) ::operator delete(place);
    }
  }
  void* take(std::size_t bytes) {
    const std::size_t number = class_of(bytes);
    if (number >= kClasses) return ::operator new(bytes);
    std::vector<void*>& places = classes_[number];
    if (places.empty()) return ::operator new((number + 1) * kClassBytes);
    void* const place = places.back();
    places.pop_back();
    return place;
  }
  void give(void* place, std::size_t bytes) {
    const std::size_t number = class_of(bytes);
    if (number >= kClasses || classes_[number].size() >= kMostOfAClass) return ::operator delete(place);
    if (classes_[number].empty()) classes_[number].reserve(kMostOfAClass);
    classes_[number].push_back(place);
  }

 private:
  static std::size_t class_of(std::size_t bytes) { return (bytes - 1) / kClassBytes; }
  std::array<std::vector<void*>, kClasses> classes_;
};

thread_local Spare spare;

}  // namespace

void* Visit::operator new(std::size_t bytes) {
  return spare.take(bytes);
}

void Visit::operator delete(void* place, std::size_t bytes) {
  spare.give(place, bytes);
}

}  // namespace tb::sentinel::proxy
