// Encrypts a buffer in memory, proves and decrypts it, reads a few bytes from its middle, and is refused once a byte of
// it was changed: the TrustBridge library inside another program. The tests build this from an install tree and run it.
#include <cstdio>
#include <memory>
#include <string>

#include "asset/manifest.h"
#include "base/crypto.h"
#include "tbenc/parallel.h"
#include "tbenc/random_access.h"

namespace {

using tb::Bytes;
using tb::ByteView;

struct Sealed {
  Bytes file;
  std::string manifest;
};

tb::Result<Sealed> encrypt(const tb::FileKey& key, ByteView weights) {
  Sealed sealed;
  tb::tbenc::MemorySink sink(sealed.file);
  const tb::tbenc::Header header = TRY(tb::tbenc::new_header(64 * 1024));
  const auto done = TRY(tb::tbenc::encrypt(key, header, tb::tbenc::MemorySource(weights), sink));

  tb::asset::ManifestDraft draft;
  draft.asset_id = "embedded-example";
  draft.header = header;
  draft.plaintext_bytes = done.plaintext_bytes;
  draft.sha256_ciphertext = done.sha256_ciphertext;
  draft.content.emplace().name = "weights.bin";
  sealed.manifest = TRY(draft.build(key)).text();
  return sealed;
}

/// The manifest is proven first; what it says is then held against the file, and every chunk against its tag.
tb::Result<tb::tbenc::Known> prove(const tb::FileKey& key, const Sealed& sealed) {
  const auto manifest = TRY(tb::asset::Manifest::parse(sealed.manifest));
  tb::asset::Expectation expected;
  expected.key = &key;
  expected.asset_id = "embedded-example";
  TRY(tb::asset::authenticate(manifest, expected));
  return manifest.known();
}

tb::Result<Bytes> decrypt(const tb::FileKey& key, const Sealed& sealed) {
  tb::tbenc::DecryptOptions options;
  options.known = TRY(prove(key, sealed));
  Bytes plain;
  tb::tbenc::MemorySink sink(plain);
  TRY(tb::tbenc::decrypt(key, tb::tbenc::MemorySource(sealed.file), sink, options));
  return plain;
}

tb::Result<std::string> read_at(const tb::FileKey& key, const Sealed& sealed, std::uint64_t offset, std::size_t bytes) {
  const auto known = TRY(prove(key, sealed));
  auto reader = TRY(tb::tbenc::RandomReader::open(key, std::make_shared<tb::tbenc::MemorySource>(sealed.file), known));
  Bytes out(bytes);
  TRY(reader.read_at(offset, out));
  return std::string(tb::as_text(out));
}

tb::Result<> run() {
  std::string weights;
  for (int i = 0; i < 100'000; ++i) weights += std::to_string(i) + ' ';

  const tb::FileKey key = tb::random_key();  // one key, one encryption
  Sealed sealed = TRY(encrypt(key, tb::as_bytes(weights)));
  std::printf("sealed %zu bytes into %zu\n", weights.size(), sealed.file.size());

  const Bytes plain = TRY(decrypt(key, sealed));
  if (tb::as_text(plain) != weights) return tb::fail("internal", "other plaintext came back");
  std::printf("opened all of it\n");

  const std::string middle = TRY(read_at(key, sealed, 300'000, 12));
  if (middle != weights.substr(300'000, 12)) return tb::fail("internal", "other bytes came back from the middle");
  std::printf("read at 300000: %s\n", middle.c_str());

  sealed.file[100'000] ^= 1;
  const auto refused = decrypt(key, sealed);
  if (refused) return tb::fail("internal", "a changed file was accepted");
  std::printf("one flipped bit: %s\n", refused.error().message.c_str());
  return {};
}

}  // namespace

int main() {
  const tb::Result<> done = run();
  if (done) return 0;
  std::fprintf(stderr, "embed: error: %s\n", done.error().story().c_str());
  return done.error().exit_status();
}
