#include "hydrate/cache.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/memory.h"
#include "hydrate/journal.h"

namespace tb::hydrate {
namespace {
/// Marks reach the journal together, at least this often: a system call for every KiB would cost more than the KiB.
constexpr std::uint64_t kFlushBytes = std::uint64_t{1} << 20;
}  // namespace

void Cache::Unmap::operator()(std::uint8_t* memory) const {
  munmap(memory, bytes);
}

Cache::Cache(CacheFiles files, Memory memory, const Digest& manifest_sha256, const tbenc::Layout& layout)
    : manifest_sha256_(manifest_sha256),
      layout_(layout),
      fd_(std::move(files.ciphertext)),
      journal_(std::move(files.journal)),
      memory_(std::move(memory)),
      present_(std::move(files.present)),
      present_count_(static_cast<std::uint64_t>(std::ranges::count(present_, true))) {}

Cache::~Cache() {
  const std::lock_guard lock(mutex_);
  flush();
}

Result<std::shared_ptr<Cache>> Cache::on_disk(const std::string& directory, const Digest& manifest_sha256,
                                              const tbenc::Layout& layout) {
  // Not inside the new-expression: what TRY returns from there would leave its memory behind.
  CacheFiles files = TRY(open_cache_files(directory, manifest_sha256, layout));
  return std::shared_ptr<Cache>(new Cache(std::move(files), Memory(), manifest_sha256, layout));
}

Result<std::shared_ptr<Cache>> Cache::in_memory(const Digest& manifest_sha256, const tbenc::Layout& layout) {
  const std::uint64_t bytes = layout.ciphertext_bytes();
  if (const auto free = memory_available(); free && *free < bytes) {
    return fail("memory_short", fmt::format("the ciphertext cache needs {} MiB in memory, {} MiB are free",
                                            (bytes >> 20) + 1, *free >> 20));
  }
  // Not a memfd: its pages are small, given out under the file's lock, and cost more than the record's decryption.
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return fail(error_from_errno(errno, "memory for the ciphertext cache"));
  (void)madvise(mapped, bytes, MADV_HUGEPAGE);
  (void)madvise(mapped, bytes, MADV_DONTDUMP);
  CacheFiles files;
  files.present.resize(static_cast<std::size_t>(layout.chunk_count()));
  return std::shared_ptr<Cache>(
      new Cache(std::move(files), Memory(static_cast<std::uint8_t*>(mapped), Unmap{bytes}), manifest_sha256, layout));
}

Result<tbenc::Header> Cache::header() const {
  std::array<std::uint8_t, tbenc::kHeaderBytes> encoded{};
  TRY(read_at(0, encoded));
  return tbenc::parse_header(encoded);
}

Result<> Cache::store_header(const tbenc::Header& header) {
  return write_at(0, tbenc::encode_header(header));
}

Result<> Cache::store(std::uint64_t chunk, std::size_t at, ByteView piece) {
  if (at + piece.size() > layout_.record_bytes(chunk)) return fail("internal", "more than a record for the cache");
  return write_at(layout_.record_offset(chunk) + at, piece);
}

Result<> Cache::write_at(std::uint64_t offset, ByteView bytes) {
  if (!memory_) return pwrite_full(fd_.get(), bytes, offset, "ciphertext cache");
  std::ranges::copy(bytes, memory_.get() + offset);
  return {};
}

void Cache::mark(std::uint64_t chunk) {
  const std::lock_guard lock(mutex_);
  if (!present_[chunk]) ++present_count_;
  present_[chunk] = true;
  note_dirty(chunk);
  if (dirty_chunks_ * layout_.chunk_bytes() >= kFlushBytes || present_count_ == present_.size()) flush();
}

void Cache::forget(std::uint64_t chunk) {
  const std::lock_guard lock(mutex_);
  if (!present_[chunk]) return;
  --present_count_;
  present_[chunk] = false;
  note_dirty(chunk);
  flush();
}

void Cache::forget_all() {
  const std::lock_guard lock(mutex_);
  std::fill(present_.begin(), present_.end(), false);
  present_count_ = 0;
  if (!present_.empty()) write_bits(0, (present_.size() - 1) / 8);
  dirty_chunks_ = 0;
}

void Cache::note_dirty(std::uint64_t chunk) {
  const std::uint64_t byte = chunk / 8;
  dirty_first_ = dirty_chunks_ == 0 ? byte : std::min(dirty_first_, byte);
  dirty_last_ = dirty_chunks_ == 0 ? byte : std::max(dirty_last_, byte);
  ++dirty_chunks_;
}

void Cache::flush() {
  if (dirty_chunks_ != 0) write_bits(dirty_first_, dirty_last_);
  dirty_chunks_ = 0;
}

void Cache::write_bits(std::uint64_t first_byte, std::uint64_t last_byte) {
  if (!journal_) return;
  Bytes bits(static_cast<std::size_t>(last_byte - first_byte + 1));
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = journal_byte(present_, first_byte + i);
  // A journal that cannot be written costs a later run some downloads; this one goes on.
  (void)pwrite_full(journal_.get(), bits, kJournalHeadBytes + first_byte, "journal");
}

Result<> Cache::read_record(std::uint64_t chunk, MutableBytes out) const {
  return read_at(layout_.record_offset(chunk), out);
}

ByteView Cache::record_in_memory(std::uint64_t chunk) const {
  if (!memory_) return {};
  return {memory_.get() + layout_.record_offset(chunk), static_cast<std::size_t>(layout_.record_bytes(chunk))};
}

bool Cache::present(std::uint64_t chunk) const {
  const std::lock_guard lock(mutex_);
  return present_[chunk];
}

bool Cache::complete() const {
  const std::lock_guard lock(mutex_);
  return present_count_ == present_.size();
}

Result<> Cache::read_at(std::uint64_t offset, MutableBytes out) const {
  if (memory_) {
    if (offset > size() || out.size() > size() - offset) {
      return fail("io_error", "the ciphertext cache is shorter than what is read");
    }
    std::copy_n(memory_.get() + offset, out.size(), out.begin());
    return {};
  }
  const std::size_t got = TRY(pread_full(fd_.get(), out, offset, "ciphertext cache"));
  if (got != out.size()) return fail("io_error", "the ciphertext cache is shorter than it was made");
  return {};
}

}  // namespace tb::hydrate
