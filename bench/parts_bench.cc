// What the inner parts cost, one core: sealing and opening a chunk, hashing, layout arithmetic, a random read.
#include <benchmark/benchmark.h>

#include <memory>
#include <random>

#include "base/secret.h"
#include "tbenc/chunk.h"
#include "tbenc/layout.h"
#include "tbenc/random_access.h"

namespace {

using namespace tb;
using namespace tb::tbenc;

FileKey bench_key() {
  std::array<std::uint8_t, 32> bytes{};
  bytes.fill(0x42);
  return FileKey(std::span<const std::uint8_t, 32>(bytes));
}

void count_bytes(benchmark::State& state, std::size_t each) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(each));
}

void seal_chunk(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  ChunkCipher cipher(bench_key(), {.chunk_bytes = kMaxChunkBytes});
  WipedBuffer record(bytes + kRecordOverhead);
  std::uint64_t index = 0;
  for (auto _ : state) cipher.seal(index++, record.view().subspan(kLengthBytes, bytes), record.span());
  count_bytes(state, bytes);
}
BENCHMARK(seal_chunk)->Arg(1 << 10)->Arg(64 << 10)->Arg(1 << 20)->Arg(4 << 20)->Arg(16 << 20);

void open_chunk(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  ChunkCipher cipher(bench_key(), {.chunk_bytes = kMaxChunkBytes});
  WipedBuffer record(bytes + kRecordOverhead);
  WipedBuffer plain(bytes);
  cipher.seal(7, plain.view(), record.span());
  for (auto _ : state) {
    if (!cipher.open(7, record.view(), plain.span())) state.SkipWithError("does not open");
  }
  count_bytes(state, bytes);
}
BENCHMARK(open_chunk)->Arg(1 << 10)->Arg(64 << 10)->Arg(1 << 20)->Arg(4 << 20)->Arg(16 << 20);

void hash_sha256(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  WipedBuffer buffer(bytes);
  Sha256 hash;
  for (auto _ : state) hash.update(buffer.view());
  benchmark::DoNotOptimize(hash.finish());
  count_bytes(state, bytes);
}
BENCHMARK(hash_sha256)->Arg(64 << 10)->Arg(4 << 20);

void layout_of_a_byte(benchmark::State& state) {
  std::mt19937_64 random(1);
  for (auto _ : state) {
    const auto layout = Layout::from_plaintext(random() >> 20, kDefaultChunkBytes);
    const auto last = layout->chunk_count() - 1;
    benchmark::DoNotOptimize(layout->record_offset(last) + layout->record_bytes(last));
  }
}
BENCHMARK(layout_of_a_byte);

// A file of `range(0)` chunks of 4 MiB in memory, read 4 KiB at a time: at random, and in order (chunks stay loaded).
void read_at_4kib(benchmark::State& state, bool at_random) {
  constexpr std::size_t kChunks = 16;
  constexpr std::uint64_t kPlainBytes = std::uint64_t{kChunks} * kDefaultChunkBytes;
  const Header header{};
  const Layout layout = Layout::from_plaintext(kPlainBytes, header.chunk_bytes).value();
  WipedBuffer file(static_cast<std::size_t>(layout.ciphertext_bytes()));
  std::ranges::copy(encode_header(header), file.data());
  ChunkCipher cipher(bench_key(), header);
  for (std::uint64_t i = 0; i < kChunks; ++i) {
    const auto record = file.span().subspan(layout.record_offset(i), layout.record_bytes(i));
    cipher.seal(i, record.subspan(kLengthBytes, header.chunk_bytes), record);
  }
  auto reader = RandomReader::open(bench_key(), std::make_shared<MemorySource>(file.view())).value();
  std::mt19937_64 random(1);
  Bytes out(4096);
  std::uint64_t at = 0;
  for (auto _ : state) {
    at = at_random ? random() % (kPlainBytes - out.size()) : (at + out.size()) % (kPlainBytes - out.size());
    if (!reader.read_at(at, out)) state.SkipWithError("does not read");
  }
  count_bytes(state, out.size());
}
BENCHMARK_CAPTURE(read_at_4kib, at_random, true);
BENCHMARK_CAPTURE(read_at_4kib, in_order, false);

}  // namespace
