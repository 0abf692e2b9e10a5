// What the audit log costs a request, one core: hashing both bodies under a key of the request's own, putting the
// record into the queue, and what its writer does for it (text, chain, tree; the disk apart).
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>

#include "base/crypto.h"
#include "sentinel/audit.h"

namespace {

using namespace tb;
using namespace tb::sentinel;

class Folder {
 public:
  Folder() {
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/dev/shm/tb-audit-bench-XXXXXX";
};

AuditEntry usual() {
  AuditEntry out;
  out.time = 1795651200161;
  out.request_id = "0123456789abcdef01234567";
  out.subject = "key-1";
  out.method = "POST";
  out.path = "/v1/chat/completions";
  out.model = "tiny";
  out.resp_sha256 = Digest{};
  out.req_bytes = out.resp_bytes = 1024;
  out.status = 200;
  out.latency_ms = 12;
  out.outcome = Outcome::kComplete;
  out.usage = meter::TokenUsage{.input_tokens = 3, .output_tokens = 400};
  return out;
}

/// Both bodies of one request as they pass, each in pieces of 16 KiB at most, as the proxy hands them on.
void hash_bodies(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const Folder folder;
  const AuditLog audit(
      {.place = {.directory = folder.path() + "/audit", .state_dir = folder.path(), .frame = {"c", "a", true}}});
  const Bytes body(bytes, 0x42);
  for (auto _ : state) {
    for (int i = 0; i < 2; ++i) {
      BodyHash hash = audit.body_hash("0123456789abcdef01234567");
      for (std::size_t at = 0; at < bytes; at += 16384) {
        hash.update(ByteView(body).subspan(at, std::min<std::size_t>(16384, bytes - at)));
      }
      benchmark::DoNotOptimize(hash.finish());
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 2 * static_cast<std::int64_t>(bytes));
}
BENCHMARK(hash_bodies)->Arg(0)->Arg(1 << 10)->Arg(64 << 10);

/// The bodies of a handful of requests at once; an item is a request.
void hash_handful(benchmark::State& state) {
  const std::optional<HmacKey> key(as_bytes("a key of thirty-two bytes, or so"));
  HmacLanes lanes;
  const Bytes body(static_cast<std::size_t>(state.range(0)), 0x42);
  const AuditEntry entry = usual();
  AuditHandful some;
  for (auto _ : state) {
    while (!some.is_full()) some.add(entry, entry.time, {.request = body, .response = body});
    some.hash(key, lanes);
    benchmark::DoNotOptimize(some.entries().front().req_sha256);
    some.clear();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(AuditHandful::kMost));
}
BENCHMARK(hash_handful)->Arg(1 << 10)->Arg(4 << 10);

/// The same bytes without key, context or pieces: what hashing alone costs.
void sha256_alone(benchmark::State& state) {
  const Bytes body(2 * static_cast<std::size_t>(state.range(0)), 0x42);
  Sha256 hash;
  for (auto _ : state) {
    hash.update(body);
    benchmark::DoNotOptimize(hash.finish());
  }
}
BENCHMARK(sha256_alone)->Arg(1 << 10)->Arg(64 << 10);

/// What the proxy's loop pays for a record.
void put_into_queue(benchmark::State& state) {
  const Folder folder;
  AuditLog audit(
      {.place = {.directory = folder.path() + "/audit", .state_dir = folder.path(), .frame = {"c", "a", true}}});
  for (auto _ : state) {
    AuditEntry entry = usual();
    while (!audit.reserve()) {
      state.PauseTiming();
      audit.flush(10'000);
      state.ResumeTiming();
    }
    audit.append(std::move(entry));
  }
}
BENCHMARK(put_into_queue);

/// What the writer pays for a record, in batches of 256, on memory.
void write_record(benchmark::State& state) {
  const Folder folder;
  const AuditFrame frame{"contract-1", "asset-1", true};
  AuditFiles files(
      {.directory = folder.path() + "/audit", .state_dir = folder.path(), .frame = frame, .segment_bytes = 1 << 28},
      {});
  const AuditEntry entry = usual();
  constexpr int kBatch = 256;
  for (auto _ : state) {
    AuditBatch batch = files.begin();
    for (int i = 0; i < kBatch; ++i) batch.add(frame, entry);
    if (!files.commit(batch)) state.SkipWithError("cannot be written");
    if (files.records() % (1 << 18) == 0) {
      state.PauseTiming();
      std::filesystem::resize_file(folder.path() + "/audit/audit.jsonl", 0);
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(write_record);

/// A start on one part of so many MiB: every record is read and checked.
void take_up(benchmark::State& state) {
  const Folder folder;
  const AuditPlace place{.directory = folder.path() + "/audit",
                         .state_dir = folder.path(),
                         .frame = {"contract-1", "asset-1", true},
                         .segment_bytes = 1 << 30};
  const AuditEntry entry = usual();
  {
    AuditFiles files(place, {});
    for (std::int64_t bytes = 0; bytes < state.range(0) << 20;) {
      AuditBatch batch = files.begin();
      while (batch.bytes() < std::size_t{1} << 20) batch.add(place.frame, entry);
      bytes += static_cast<std::int64_t>(batch.bytes());
      if (!files.commit(batch)) state.SkipWithError("cannot be written");
    }
  }
  std::uint64_t records = 0;
  for (auto _ : state) records = AuditFiles(place, {}).records();
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(records));
}
BENCHMARK(take_up)->Arg(64)->Unit(benchmark::kMillisecond);

}  // namespace
