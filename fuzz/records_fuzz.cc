// Arbitrary bytes as a file, under one key: what a sequential reader accepts, a writer makes byte for byte again, and
// every other reader sees the same plaintext. The seeds hold real files, so that a mutation that would be accepted
// although it changed something is found.
#include <memory>

#include "fuzz.h"
#include "tbenc/parallel.h"
#include "tbenc/random_access.h"
#include "tbenc/stream.h"

namespace {

using namespace tb;
using namespace tb::tbenc;

constexpr std::uint32_t kMostChunkBytes = 65536;  // larger ones only cost memory here

FileKey fuzz_key() {
  std::array<std::uint8_t, 32> bytes{};
  bytes.fill(0x42);
  return FileKey(std::span<const std::uint8_t, 32>(bytes));
}

struct Read {
  std::string reason;  ///< empty: accepted
  Bytes plain;
};

Read by_stream(const FileKey& key, ByteView file, const Known& known) {
  MemoryPull source(file);
  auto reader = StreamReader::open(key, source, known);
  if (!reader) return {reader.error().reason, {}};
  Read out;
  while (true) {
    const auto chunk = reader->next();
    if (!chunk) {
      FUZZ_CHECK(!reader->next());
      out.reason = chunk.error().reason;
      return out;
    }
    if (chunk->empty()) break;
    out.plain.insert(out.plain.end(), chunk->begin(), chunk->end());
  }
  FUZZ_CHECK(reader->end_authenticated() == known.plaintext_bytes.has_value());
  return out;
}

Read at_random(const FileKey& key, ByteView file, const Known& known) {
  auto reader = RandomReader::open(key, std::make_shared<MemorySource>(file), known);
  if (!reader) return {reader.error().reason, {}};
  Read out;
  out.plain.resize(static_cast<std::size_t>(reader->layout().plaintext_bytes()));
  if (auto read = reader->read_at(0, out.plain); !read) return {read.error().reason, {}};
  return out;
}

Bytes sealed(const FileKey& key, const Header& header, ByteView plain) {
  Bytes out;
  MemorySink sink(out);
  auto writer = StreamWriter::create(key, header, sink).value();
  writer.write(plain).value();
  writer.finish().value();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const FileKey key = fuzz_key();
  const ByteView file(data, bytes);
  const auto header = parse_header(file);
  if (header && header->chunk_bytes > kMostChunkBytes) return 0;

  const Read stream = by_stream(key, file, {});
  const Read random = at_random(key, file, {});
  FUZZ_CHECK(stream.reason.empty() == random.reason.empty());
  if (!stream.reason.empty()) return 0;
  FUZZ_CHECK(stream.plain == random.plain);
  const Bytes again = sealed(key, *header, stream.plain);
  FUZZ_CHECK(std::ranges::equal(again, file));

  // With the length known, only the true one is accepted.
  const Known known{.plaintext_bytes = stream.plain.size()};
  FUZZ_CHECK(by_stream(key, file, known).reason.empty());
  FUZZ_CHECK(at_random(key, file, known).reason.empty());
  for (const std::uint64_t wrong : {stream.plain.size() + 1, stream.plain.size() + header->chunk_bytes}) {
    FUZZ_CHECK(!by_stream(key, file, {.plaintext_bytes = wrong}).reason.empty());
    FUZZ_CHECK(!at_random(key, file, {.plaintext_bytes = wrong}).reason.empty());
  }
  return 0;
}
