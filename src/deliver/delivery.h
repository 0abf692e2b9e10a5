// A delivery makes opened chunks into what a runtime reads: files in memory (tmpfs.h), a FIFO (fifo.h).
//
// Life: made (the place is guarded, leftovers of an earlier run are gone) → ChunkSink::begin, chunk…, finish → [serve]
// → usable() → revoke(). It can be hydrated again after revoke(). All plaintext that a delivery has put anywhere is
// overwritten and removed by revoke(), by abort(), and by its destructor.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "asset/chunk_source.h"
#include "asset/sink.h"

namespace tb::deliver {

class Delivery : public asset::ChunkSink {
 public:
  /// "tmpfs" or "fifo": the ready signal and /status say it.
  virtual std::string kind() const = 0;
  /// What the runtime opens: a file, a directory, or the FIFO. Known from begin() on.
  virtual std::string path() const = 0;
  /// The whole asset can be read now. Any thread.
  virtual bool usable() const = 0;
  /// False: it needs no chunks beforehand but serves on demand, by serve() after begin().
  virtual bool takes_chunks() const { return true; }
  /// For takes_chunks() == false: serves what `chunks` opens. Throws Error.
  virtual void serve(std::shared_ptr<asset::ChunkSource> /*chunks*/) {}
  /// Wipes and removes what was delivered; usable() is false from its start. The error says what could not be wiped.
  virtual Result<> revoke() = 0;
  /// Why serving ended after it was usable: a chunk that did not verify, or could not be had. Any thread.
  virtual std::optional<Error> last_fault() const { return std::nullopt; }
};

}  // namespace tb::deliver
