// A delivery makes opened chunks into what a runtime reads: files in memory (tmpfs.h), a FIFO (fifo.h).
//
// Life: made (leftovers of an earlier run are gone, the place is guarded) → ChunkSink::begin, chunk…, finish →
// usable() → revoke(). It can be hydrated again after revoke(). Everything plaintext that a delivery has put anywhere is
// overwritten and removed by revoke(), by abort(), and by its destructor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <sys/types.h>

#include "asset/sink.h"
#include "base/secret.h"
#include "tbenc/source.h"

namespace tb::deliver {

class Delivery : public asset::ChunkSink {
 public:
  /// "tmpfs", "fifo": the ready signal and /status say it.
  virtual std::string kind() const = 0;
  /// What the runtime opens: a file, a directory, or the FIFO.
  virtual std::string path() const = 0;
  /// The whole asset can be read now.
  virtual bool usable() const = 0;
  /// False: it wants no chunks but the verified ciphertext, by serve(), after finish().
  virtual bool takes_chunks() const { return true; }
  /// For takes_chunks() == false: serves from `ciphertext`, opening every record by its tag at each read. Keeps both.
  virtual void serve(std::shared_ptr<const tbenc::RandomSource> ciphertext, FileKey key);
  /// Wipes everything that was delivered; usable() is false afterwards. Never throws; says false if something could not
  /// be wiped (and why, once, by last_fault()).
  virtual bool revoke() noexcept = 0;
  /// Why serving failed after it was usable (a record that did not verify); empty otherwise.
  virtual std::string last_fault() const { return {}; }
};

}  // namespace tb::deliver
