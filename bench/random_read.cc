// What 4 KiB at a random place of an encrypted file cost, against reading and opening the one chunk they lie in: the
// two take turns over one file, so that a slow moment is slow for both.
//
//   random_read FILE READS     FILE is one that tbenc_whole made; JSON to standard output, microseconds
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <random>
#include <vector>

#include "base/secret.h"
#include "tbenc/chunk.h"
#include "tbenc/random_access.h"

namespace {

using namespace tb;
using namespace tb::tbenc;

constexpr std::size_t kReadBytes = 4096;

// Processor time of this thread, in microseconds: both sides are one thread, so other programs do not count.
double now_us() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) * 1e6 + double(time.tv_nsec) / 1e3;
}

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + std::ptrdiff_t(values.size() / 2));
  return values[values.size() / 2];
}

int measure(const std::string& path, int reads) {
  std::array<std::uint8_t, 32> key_bytes{};
  key_bytes.fill(0x42);
  const FileKey key{std::span<const std::uint8_t, 32>(key_bytes)};
  const auto source = std::make_shared<FileSource>(value_or_throw(FileSource::open(path)));
  auto reader = value_or_throw(RandomReader::open(key, source));
  const Layout layout = reader.layout();
  ChunkCipher cipher(key, reader.header());
  WipedBuffer record(static_cast<std::size_t>(layout.record_bytes(0)));
  Bytes out(kReadBytes);
  std::mt19937_64 random(1);
  std::vector<double> read_at_us, open_chunk_us, open_only_us;
  for (int i = 0; i < reads; ++i) {
    const std::uint64_t at = random() % (layout.plaintext_bytes() - kReadBytes);
    double start = now_us();
    value_or_throw(reader.read_at(at, out));
    read_at_us.push_back(now_us() - start);

    const std::uint64_t index = random() % (layout.chunk_count() - 1);
    start = now_us();
    value_or_throw(source->read_at(layout.record_offset(index), record.span()));
    const double was_read = now_us();
    value_or_throw(cipher.open(index, record.view(), record.span().subspan(kLengthBytes, layout.chunk_bytes())));
    open_chunk_us.push_back(now_us() - start);
    open_only_us.push_back(now_us() - was_read);
  }
  fmt::print("{{\"read_at_us\":{:.0f},\"open_chunk_us\":{:.0f},\"open_only_us\":{:.0f}}}\n", median(read_at_us),
             median(open_chunk_us), median(open_only_us));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    return measure(argv[1], std::max(2, static_cast<int>(std::strtol(argv[2], nullptr, 10))));
  } catch (const Error& error) {
    fmt::print(stderr, "random_read: {}\n", error.story());
    return 1;
  }
}
