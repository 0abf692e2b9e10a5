#include "deliver/pipe_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "base/secret.h"
#include "deliver/kernel.h"

namespace tb::deliver {
namespace {

std::size_t rounded_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

PipePages::PipePages(std::size_t bytes) : size_(bytes) {
  map();
}

PipePages::~PipePages() {
  if (data_ == nullptr) return;
  wipe_what_is_ours();
  unmap();
}

void PipePages::map() {
  // As much again as it takes to start on a huge page.
  mapped_ = rounded_up(size_, kHugePageBytes) + kHugePageBytes;
  base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base_ == MAP_FAILED) throw std::bad_alloc();
  data_ = reinterpret_cast<std::uint8_t*>(rounded_up(reinterpret_cast<std::uintptr_t>(base_), kHugePageBytes));
  // All best effort. A child that were forked now would hold pages that we believe let go of.
  madvise(base_, mapped_, MADV_DONTDUMP);
  madvise(base_, mapped_, MADV_DONTFORK);
  madvise(data_, rounded_up(size_, kHugePageBytes), MADV_HUGEPAGE);
}

void PipePages::unmap() noexcept {
  munmap(base_, mapped_);
  data_ = nullptr;
}

void PipePages::wipe_what_is_ours() noexcept {
  static const auto page_bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t given = std::min(rounded_up(given_, page_bytes), size_);
  if (written_) wipe(data_ + given, size_ - given);
}

void PipePages::let_go() {
  wipe_what_is_ours();
  written_ = false;
  given_ = 0;
  if (madvise(base_, mapped_, MADV_DONTNEED) == 0) return;
  unmap();  // locked memory is not given up page by page
  map();
}

}  // namespace tb::deliver
