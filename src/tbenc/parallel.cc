#include "tbenc/parallel.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "base/secret.h"
#include "tbenc/buffer.h"
#include "tbenc/chunk.h"
#include "tbenc/layout.h"
#include "tbenc/random_access.h"
#include "tbenc/record_reader.h"

namespace tb::tbenc {
namespace {

constexpr std::size_t kMostBufferBytes = std::size_t{512} << 20;
constexpr std::size_t kBatchBytes = std::size_t{256}
                                    << 10;  // small records travel together: a lock each would cost more
// A record starts 4 bytes before a page, so its plaintext starts on one.
constexpr std::size_t kRecordAt = 4096 - kLengthBytes;

/// Consecutive records on their way, in one buffer.
struct Batch {
  WipedBuffer buffer;
  std::uint64_t first_record = 0;
  std::uint64_t plain_bytes = 0;
  std::size_t file_bytes = 0;  ///< the records' bytes, from kRecordAt
  MutableBytes room() { return buffer.span().subspan(kRecordAt); }
};

/// What to do with every batch. take: one at a time, in order; false at the end. work: on all threads at once.
/// in_order: each of these one at a time and in order, but beside each other.
struct Steps {
  std::function<Result<bool>(Batch&)> take;
  std::function<Result<>(unsigned worker, Batch&)> work;
  std::vector<std::function<Result<>(Batch&)>> in_order;
};

/// The threads and the ring of batches. A thread first serves a step that must go in order, then takes a new batch:
/// so the slowest ordered step never waits for a thread, and the others share what is left.
class Line {
 public:
  Line(unsigned jobs, std::size_t buffer_bytes, Steps steps, const std::atomic<bool>* cancel)
      : jobs_(jobs),
        buffer_bytes_(buffer_bytes),
        steps_(std::move(steps)),
        cancel_(cancel),
        ordered_(steps_.in_order.size()) {
    ring_.resize(std::size_t{2} * jobs + 2);
  }

  Result<> run() {
    for (auto& at : ring_) at.batch.buffer = TRY(allocate_buffer(kRecordAt + buffer_bytes_));
    {
      std::vector<std::jthread> threads;
      for (unsigned worker = 1; worker < jobs_; ++worker) threads.emplace_back([this, worker] { serve(worker); });
      serve(0);
    }
    if (error_) return fail(std::move(*error_));
    return {};
  }

 private:
  struct Place {
    Batch batch;
    bool ready = false;  ///< work is done
  };
  struct Ordered {
    std::uint64_t next = 0;
    bool busy = false;
  };

  Place& place(std::uint64_t number) { return ring_[number % ring_.size()]; }

  void serve(unsigned worker) {
    std::unique_lock lock(mutex_);
    while (!error_) {
      if (serve_ordered(lock) || serve_new(lock, worker)) continue;
      if (ended_ && oldest() == taken_) break;
      changed_.wait(lock);
    }
  }

  bool serve_ordered(std::unique_lock<std::mutex>& lock) {
    for (std::size_t step = 0; step < ordered_.size(); ++step) {
      Ordered& at = ordered_[step];
      if (at.busy || at.next == taken_ || !place(at.next).ready) continue;
      at.busy = true;
      const std::uint64_t number = at.next;
      lock.unlock();
      auto done = steps_.in_order[step](place(number).batch);
      lock.lock();
      at.busy = false;
      ++at.next;
      note(number, std::move(done));
      return true;
    }
    return false;
  }

  bool serve_new(std::unique_lock<std::mutex>& lock, unsigned worker) {
    if (taking_ || ended_ || taken_ - oldest() == ring_.size()) return false;
    taking_ = true;
    const std::uint64_t number = taken_;
    Place& mine = place(number);
    lock.unlock();
    auto more = take(mine.batch);
    lock.lock();
    taking_ = false;
    if (!more || !*more) {
      ended_ = true;
      note(number, more ? Result<>{} : fail(std::move(more.error())));
      return true;
    }
    mine.ready = false;
    ++taken_;
    changed_.notify_all();
    lock.unlock();
    auto done = steps_.work(worker, mine.batch);
    lock.lock();
    mine.ready = true;
    note(number, std::move(done));
    return true;
  }

  Result<bool> take(Batch& batch) {
    if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed)) return fail("cancelled", "stopped on request");
    return steps_.take(batch);
  }

  // Of several errors the one of the earliest batch stays, whichever thread met its own first: every batch before it
  // was taken already and is worked on to its end.
  void note(std::uint64_t number, Result<> done) {
    if (!done && (!error_ || number < error_at_)) {
      error_ = std::move(done.error());
      error_at_ = number;
    }
    changed_.notify_all();
  }

  std::uint64_t oldest() const { return std::ranges::min(ordered_, {}, &Ordered::next).next; }

  const unsigned jobs_;
  const std::size_t buffer_bytes_;
  Steps steps_;
  const std::atomic<bool>* cancel_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Place> ring_;
  std::vector<Ordered> ordered_;
  std::uint64_t taken_ = 0;
  bool taking_ = false;
  bool ended_ = false;
  std::optional<Error> error_;
  std::uint64_t error_at_ = 0;
};

struct Plan {
  unsigned jobs;
  std::size_t records;       ///< in a batch
  std::size_t buffer_bytes;  ///< of a batch, with room for the length field behind it
};

/// `records`: how many there are at most, of `largest_record` bytes.
Plan plan_for(std::uint64_t largest_record, std::uint64_t records, unsigned jobs) {
  const std::size_t record = std::max<std::size_t>(1, static_cast<std::size_t>(largest_record));
  const std::size_t together =
      std::clamp<std::size_t>(kBatchBytes / record, 1, static_cast<std::size_t>(std::max<std::uint64_t>(1, records)));
  const std::size_t buffer_bytes = together * record + kLengthBytes;
  if (jobs == 0) jobs = std::max(1U, std::thread::hardware_concurrency());
  const std::size_t most_buffers = std::max<std::size_t>(4, kMostBufferBytes / buffer_bytes);
  return {static_cast<unsigned>(std::min<std::size_t>(jobs, (most_buffers - 2) / 2)), together, buffer_bytes};
}

Plan plan_for(const Layout& layout, unsigned jobs) {
  return plan_for(layout.chunk_count() == 0 ? 0 : layout.record_bytes(0), layout.chunk_count(), jobs);
}

constexpr auto kUnknownRecords = ~std::uint64_t{0};

std::vector<ChunkCipher> ciphers(const FileKey& key, const Header& header, unsigned jobs) {
  std::vector<ChunkCipher> out;
  out.reserve(jobs);
  for (unsigned i = 0; i < jobs; ++i) out.emplace_back(key, header);
  return out;
}

/// The next batch of a layout: sets sizes only.
bool next_of(const Layout& layout, std::size_t records, std::uint64_t& next_record, Batch& batch) {
  batch.first_record = next_record;
  batch.plain_bytes = 0;
  batch.file_bytes = 0;
  for (; next_record < layout.chunk_count() && next_record - batch.first_record < records; ++next_record) {
    batch.plain_bytes += layout.chunk_plain_bytes(next_record);
    batch.file_bytes += static_cast<std::size_t>(layout.record_bytes(next_record));
  }
  return batch.file_bytes != 0;
}

/// Calls `each(index, record)` for the records of a batch.
template <typename Each>
Result<> for_records(Batch& batch, std::uint32_t chunk_bytes, Each each) {
  const std::size_t stride = chunk_bytes + kRecordOverhead;
  std::uint64_t index = batch.first_record;
  for (std::size_t at = 0; at < batch.file_bytes; at += stride) {
    const std::size_t record_bytes = std::min(stride, batch.file_bytes - at);
    TRY(each(index++, batch.room().subspan(at, record_bytes)));
  }
  return {};
}

MutableBytes plain_of(MutableBytes record) {
  return record.subspan(kLengthBytes, record.size() - kRecordOverhead);
}

// ---- encrypt ----

/// Fills the places of the plaintext in a batch from a source in order.
Result<bool> pull_batch(PullSource& source, std::uint32_t chunk_bytes, std::size_t records, std::uint64_t& next_record,
                        bool& at_end, Batch& batch) {
  batch.first_record = next_record;
  batch.plain_bytes = 0;
  batch.file_bytes = 0;
  while (!at_end && next_record - batch.first_record < records) {
    const std::size_t got = TRY(source.read(batch.room().subspan(batch.file_bytes + kLengthBytes, chunk_bytes)));
    at_end = got < chunk_bytes;
    if (got == 0) break;
    batch.plain_bytes += got;
    batch.file_bytes += got + kRecordOverhead;
    ++next_record;
  }
  return batch.file_bytes != 0;
}

/// The steps after reading are the same for both kinds of source.
class Encryption {
 public:
  Encryption(const FileKey& key, const Header& header, Sink& sink, const ParallelOptions& options, const Plan& plan)
      : ciphers_(ciphers(key, header, plan.jobs)), sink_(sink), options_(options), plan_(plan) {
    result_.header = header;
  }

  Result<EncryptResult> run(std::function<Result<bool>(Batch&)> take, std::function<Result<>(Batch&)> fill) {
    const auto head = encode_header(result_.header);
    TRY(write_out(head));
    hash_.update(head);
    Steps steps;
    steps.take = std::move(take);
    steps.work = [this, &fill](unsigned worker, Batch& batch) -> Result<> {
      if (fill) TRY(fill(batch));
      return for_records(batch, result_.header.chunk_bytes, [&](std::uint64_t index, MutableBytes record) -> Result<> {
        ciphers_[worker].seal(index, plain_of(record), record);
        return {};
      });
    };
    steps.in_order.push_back([this](Batch& batch) -> Result<> {
      hash_.update(batch.room().first(batch.file_bytes));
      return {};
    });
    steps.in_order.push_back([this](Batch& batch) -> Result<> {
      TRY(write_out(batch.room().first(batch.file_bytes)));
      result_.plaintext_bytes += batch.plain_bytes;
      if (options_.progress) options_.progress(result_.plaintext_bytes);
      return {};
    });
    TRY(Line(plan_.jobs, plan_.buffer_bytes, std::move(steps), options_.cancel).run());
    result_.sha256_ciphertext = hash_.finish();
    return result_;
  }

  /// Gives the plaintext of a batch, not sealed yet, to the caller's callback.
  Result<> show(Batch& batch) const {
    if (!options_.on_plaintext) return {};
    return for_records(batch, result_.header.chunk_bytes, [&](std::uint64_t, MutableBytes record) -> Result<> {
      options_.on_plaintext(plain_of(record));
      return {};
    });
  }

 private:
  Result<> write_out(ByteView bytes) {
    result_.ciphertext_bytes += bytes.size();
    return sink_.write(bytes);
  }

  std::vector<ChunkCipher> ciphers_;
  Sink& sink_;
  const ParallelOptions& options_;
  Plan plan_;
  Sha256 hash_;
  EncryptResult result_;
};

// ---- decrypt ----

class Decryption {
 public:
  Decryption(const FileKey& key, const Header& header, Sink* sink, const DecryptOptions& options, const Plan& plan)
      : ciphers_(ciphers(key, header, plan.jobs)), sink_(sink), options_(options), plan_(plan) {
    result_.header = header;
    if (options_.hash_ciphertext) hash_.update(encode_header(header));
  }

  Result<DecryptResult> run(std::function<Result<bool>(Batch&)> take, std::function<Result<>(Batch&)> fill) {
    Steps steps;
    steps.take = std::move(take);
    steps.work = [this, &fill](unsigned worker, Batch& batch) -> Result<> {
      if (fill) TRY(fill(batch));
      return open(ciphers_[worker], batch);
    };
    steps.in_order.push_back([this](Batch& batch) -> Result<> {
      const auto plain = batch.room().subspan(kLengthBytes, static_cast<std::size_t>(batch.plain_bytes));
      if (options_.on_plaintext) options_.on_plaintext(plain);
      if (sink_ != nullptr) TRY(sink_->write(plain));
      result_.plaintext_bytes += batch.plain_bytes;
      if (options_.progress) options_.progress(result_.plaintext_bytes);
      return {};
    });
    TRY(Line(plan_.jobs, plan_.buffer_bytes, std::move(steps), options_.cancel).run());
    if (options_.hash_ciphertext) result_.sha256_ciphertext = hash_.finish();
    return result_;
  }

  void hash(Batch& batch) {
    if (options_.hash_ciphertext) hash_.update(batch.room().first(batch.file_bytes));
  }

 private:
  // Opens in place; of several small records the plaintexts are then moved together.
  Result<> open(ChunkCipher& cipher, Batch& batch) {
    std::uint8_t* to = batch.room().data() + kLengthBytes;
    return for_records(batch, result_.header.chunk_bytes, [&](std::uint64_t index, MutableBytes record) -> Result<> {
      const auto plain = plain_of(record);
      TRY(cipher.open(index, record, plain));
      if (to != plain.data()) std::memmove(to, plain.data(), plain.size());
      to += plain.size();
      return {};
    });
  }

  std::vector<ChunkCipher> ciphers_;
  Sink* sink_;
  const DecryptOptions& options_;
  Plan plan_;
  Sha256 hash_;
  DecryptResult result_;
};

Result<DecryptResult> decrypt_at_random(const FileKey& key, const RandomSource& source, Sink* sink,
                                        const DecryptOptions& options) {
  const FileHead head = TRY(read_head(source, options.known));
  const Layout& layout = head.layout;
  const Plan plan = plan_for(layout, options.jobs);
  Decryption decryption(key, head.header, sink, options, plan);
  const auto fill = [&](Batch& batch) {
    return source.read_at(layout.record_offset(batch.first_record), batch.room().first(batch.file_bytes));
  };
  std::uint64_t next_record = 0;
  const auto take = [&](Batch& batch) -> Result<bool> {
    if (!next_of(layout, plan.records, next_record, batch)) return false;
    if (options.hash_ciphertext) {
      TRY(fill(batch));
      decryption.hash(batch);
    }
    return true;
  };
  auto result = TRY(decryption.run(take, options.hash_ciphertext ? std::function<Result<>(Batch&)>() : fill));
  result.end_authenticated = head.end_authenticated;
  return result;
}

}  // namespace

Result<EncryptResult> encrypt(const FileKey& key, const Header& header, const RandomSource& source, Sink& sink,
                              const ParallelOptions& options) {
  const Layout layout = TRY(Layout::from_plaintext(source.size(), header.chunk_bytes));
  const Plan plan = plan_for(layout, options.jobs);
  Encryption encryption(key, header, sink, options, plan);
  const auto fill = [&](Batch& batch) {
    return for_records(batch, header.chunk_bytes, [&](std::uint64_t index, MutableBytes record) {
      return source.read_at(layout.plain_offset(index), plain_of(record));
    });
  };
  std::uint64_t next_record = 0;
  const auto take = [&](Batch& batch) -> Result<bool> {
    if (!next_of(layout, plan.records, next_record, batch)) return false;
    if (options.on_plaintext) {
      TRY(fill(batch));
      TRY(encryption.show(batch));
    }
    return true;
  };
  auto result = TRY(encryption.run(take, options.on_plaintext ? std::function<Result<>(Batch&)>() : fill));
  TRY(source.check_unchanged());
  return result;
}

Result<EncryptResult> encrypt(const FileKey& key, const Header& header, PullSource& source, Sink& sink,
                              const ParallelOptions& options) {
  const Plan plan = plan_for(header.chunk_bytes + kRecordOverhead, kUnknownRecords, options.jobs);
  Encryption encryption(key, header, sink, options, plan);
  std::uint64_t next_record = 0;
  bool at_end = false;
  const auto take = [&](Batch& batch) -> Result<bool> {
    if (!TRY(pull_batch(source, header.chunk_bytes, plan.records, next_record, at_end, batch))) return false;
    TRY(encryption.show(batch));
    return true;
  };
  auto result = TRY(encryption.run(take, {}));
  if (source.size() && *source.size() != result.plaintext_bytes) {
    return fail("source_changed", fmt::format("{} gave {} bytes where {} were expected", source.name(),
                                              result.plaintext_bytes, *source.size()));
  }
  return result;
}

Result<DecryptResult> decrypt(const FileKey& key, const RandomSource& source, Sink& sink,
                              const DecryptOptions& options) {
  return decrypt_at_random(key, source, &sink, options);
}

Result<DecryptResult> decrypt(const FileKey& key, PullSource& source, Sink& sink, const DecryptOptions& options) {
  RecordReader records = TRY(RecordReader::open(source, options.known));
  const Plan plan = plan_for(records.room_bytes() - kLengthBytes, kUnknownRecords, options.jobs);
  Decryption decryption(key, records.header(), &sink, options, plan);
  const auto take = [&](Batch& batch) -> Result<bool> {
    batch.first_record = records.index();
    batch.plain_bytes = 0;
    batch.file_bytes = 0;
    while (records.index() - batch.first_record < plan.records) {
      const std::uint32_t plain_bytes = TRY(records.next(batch.room().subspan(batch.file_bytes)));
      if (plain_bytes == 0) break;
      batch.plain_bytes += plain_bytes;
      batch.file_bytes += plain_bytes + kRecordOverhead;
    }
    decryption.hash(batch);
    return batch.file_bytes != 0;
  };
  auto result = TRY(decryption.run(take, {}));
  result.end_authenticated = records.end_authenticated();
  return result;
}

Result<DecryptResult> verify(const FileKey& key, const RandomSource& source, const DecryptOptions& options) {
  return decrypt_at_random(key, source, nullptr, options);
}

Result<Digest> sha256_of(const RandomSource& source, const ParallelOptions& options) {
  Sha256 hash;
  std::uint64_t taken = 0;
  std::uint64_t hashed = 0;
  Steps steps;
  steps.take = [&](Batch& batch) -> Result<bool> {
    batch.first_record = taken;  // here: the offset in the source
    batch.file_bytes = static_cast<std::size_t>(std::min<std::uint64_t>(kBatchBytes, source.size() - taken));
    taken += batch.file_bytes;
    return batch.file_bytes != 0;
  };
  steps.work = [&](unsigned, Batch& batch) {
    return source.read_at(batch.first_record, batch.room().first(batch.file_bytes));
  };
  steps.in_order.push_back([&](Batch& batch) -> Result<> {
    hash.update(batch.room().first(batch.file_bytes));
    hashed += batch.file_bytes;
    if (options.progress) options.progress(hashed);
    return {};
  });
  TRY(Line(plan_for(kBatchBytes, kUnknownRecords, options.jobs).jobs, kBatchBytes, std::move(steps), options.cancel)
          .run());
  TRY(source.check_unchanged());
  return hash.finish();
}

}  // namespace tb::tbenc
