// Encrypt and decrypt on all cores, with a fixed pool of chunk buffers (the only threads below floor 2).
//
// Memory: 2 * jobs + 2 buffers of one record each, whatever the file's size, and no more than 512 MiB of them: `jobs`
// is lowered for large chunks. The ciphertext's SHA-256 is computed in order while the other cores seal, never in a
// pass of its own. On an error nothing more is written, but what was written before stays: write to an AtomicFile, or
// to a reader that is told of the failure. Only chunks whose tag verified are ever written.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/crypto.h"
#include "tbenc/header.h"
#include "tbenc/sink.h"
#include "tbenc/source.h"

namespace tb::tbenc {

/// The callbacks must not throw.
struct ParallelOptions {
  unsigned jobs = 0;  ///< threads; 0: one for each core
  /// Called with the plaintext bytes done so far, from any of the threads but one at a time.
  std::function<void(std::uint64_t plaintext_bytes)> progress;
  /// Set to true by anyone: the work ends with "cancelled".
  const std::atomic<bool>* cancel = nullptr;
  /// Called with every piece of plaintext, in order, one at a time: for hashes of the plaintext.
  std::function<void(ByteView plain)> on_plaintext;
};

struct EncryptResult {
  Header header;
  std::uint64_t plaintext_bytes = 0;
  std::uint64_t ciphertext_bytes = 0;
  Digest sha256_ciphertext{};
};

/// `header` as of new_header(); `key` MUST never have sealed another file. A source that shrinks or grows while it is
/// read is "source_changed" and named. Errors of source and sink; "cancelled".
Result<EncryptResult> encrypt(const FileKey& key, const Header& header, const RandomSource& source, Sink& sink,
                              const ParallelOptions& options = {});
Result<EncryptResult> encrypt(const FileKey& key, const Header& header, PullSource& source, Sink& sink,
                              const ParallelOptions& options = {});

struct DecryptOptions : ParallelOptions {
  Known known;                   ///< from an authenticated manifest
  bool hash_ciphertext = false;  ///< compute sha256_ciphertext too (one stream: halves the speed)
};

struct DecryptResult {
  Header header;
  std::uint64_t plaintext_bytes = 0;
  bool end_authenticated = false;  ///< the plaintext length was known beforehand
  std::optional<Digest> sha256_ciphertext;
};

/// Errors as StreamReader and RandomReader give them.
Result<DecryptResult> decrypt(const FileKey& key, const RandomSource& source, Sink& sink,
                              const DecryptOptions& options = {});
Result<DecryptResult> decrypt(const FileKey& key, PullSource& source, Sink& sink, const DecryptOptions& options = {});

/// Checks every record's tag and the size, on all cores, and gives no plaintext out.
Result<DecryptResult> verify(const FileKey& key, const RandomSource& source, const DecryptOptions& options = {});

/// SHA-256 of a whole source, for those who hold no key; one thread reads while another hashes.
Result<Digest> sha256_of(const RandomSource& source, const ParallelOptions& options = {});

}  // namespace tb::tbenc
