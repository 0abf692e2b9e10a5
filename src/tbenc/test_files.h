// For tests only: keys, plaintexts, files sealed in memory, and one way to put a file through every reader.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tbenc/parallel.h"
#include "tbenc/random_access.h"
#include "tbenc/stream.h"

namespace tb::tbenc::test {

inline FileKey key_of(std::uint8_t byte) {
  std::array<std::uint8_t, 32> bytes{};
  bytes.fill(byte);
  return FileKey(std::span<const std::uint8_t, 32>(bytes));
}

inline FileKey key_from_hex(std::string_view hex) {
  const Bytes bytes = from_hex(hex).value();
  return FileKey(std::span<const std::uint8_t, 32>(bytes.data(), 32));
}

/// Bytes of which no two places look alike.
inline Bytes pattern(std::size_t bytes, std::uint32_t seed = 1) {
  Bytes out(bytes);
  std::uint32_t x = seed * 2654435761U + 1;
  for (auto& byte : out) {
    x = x * 1664525U + 1013904223U;
    byte = static_cast<std::uint8_t>(x >> 24);
  }
  return out;
}

inline Bytes repeated(std::string_view text, std::size_t bytes) {
  Bytes out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(text[i % text.size()]);
  return out;
}

inline Header header_of(std::uint32_t chunk_bytes, NoncePrefix prefix = {1, 2, 3, 4}) {
  return {.chunk_bytes = chunk_bytes, .nonce_prefix = prefix};
}

inline Bytes sealed(const FileKey& key, const Header& header, ByteView plain) {
  Bytes out;
  MemorySink sink(out);
  auto writer = StreamWriter::create(key, header, sink).value();
  writer.write(plain).value();
  writer.finish().value();
  return out;
}

/// The records of a well-formed file, to be put together anew.
inline std::vector<Bytes> records_of(ByteView file, const Layout& layout) {
  std::vector<Bytes> out;
  for (std::uint64_t i = 0; i < layout.chunk_count(); ++i) {
    const auto record = file.subspan(layout.record_offset(i), layout.record_bytes(i));
    out.emplace_back(record.begin(), record.end());
  }
  return out;
}

inline Bytes joined(ByteView header, const std::vector<Bytes>& records) {
  Bytes out(header.begin(), header.end());
  for (const auto& record : records) out.insert(out.end(), record.begin(), record.end());
  return out;
}

/// What a reader made of a file.
struct Outcome {
  std::string reader;
  std::string reason;  ///< empty: accepted
  Bytes released;
  bool end_authenticated = false;
};

inline Outcome by_stream(const FileKey& key, ByteView file, const Known& known) {
  Outcome out{.reader = "stream"};
  MemoryPull source(file);
  auto reader = StreamReader::open(key, source, known);
  if (!reader) {
    out.reason = reader.error().reason;
    return out;
  }
  while (true) {
    const auto chunk = reader->next();
    if (!chunk) {
      out.reason = chunk.error().reason;
      return out;
    }
    if (chunk->empty()) break;
    out.released.insert(out.released.end(), chunk->begin(), chunk->end());
  }
  out.end_authenticated = reader->end_authenticated();
  return out;
}

inline Outcome by_parallel(const FileKey& key, ByteView file, const Known& known, bool in_order) {
  Outcome out{.reader = in_order ? "parallel, source in order" : "parallel, source at random"};
  MemorySink sink(out.released);
  DecryptOptions options;
  options.jobs = 2;
  options.known = known;
  MemorySource random(file);
  MemoryPull pull(file);
  const auto result = in_order ? decrypt(key, pull, sink, options) : decrypt(key, random, sink, options);
  if (!result)
    out.reason = result.error().reason;
  else
    out.end_authenticated = result->end_authenticated;
  return out;
}

inline Outcome by_random_access(const FileKey& key, ByteView file, const Known& known) {
  Outcome out{.reader = "random access"};
  auto reader = RandomReader::open(key, std::make_shared<MemorySource>(file), known);
  if (!reader) {
    out.reason = reader.error().reason;
    return out;
  }
  const Layout layout = reader->layout();
  for (std::uint64_t i = 0; i < layout.chunk_count(); ++i) {
    Bytes chunk(layout.chunk_plain_bytes(i));
    if (auto read = reader->read_at(layout.plain_offset(i), chunk); !read) {
      out.reason = read.error().reason;
      return out;
    }
    out.released.insert(out.released.end(), chunk.begin(), chunk.end());
  }
  out.end_authenticated = reader->end_authenticated();
  return out;
}

inline std::vector<Outcome> by_every_reader(const FileKey& key, ByteView file, const Known& known = {}) {
  std::vector<Outcome> out;
  out.push_back(by_stream(key, file, known));
  out.push_back(by_parallel(key, file, known, true));
  out.push_back(by_parallel(key, file, known, false));
  out.push_back(by_random_access(key, file, known));
  return out;
}

}  // namespace tb::tbenc::test
