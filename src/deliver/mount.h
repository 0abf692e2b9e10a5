// Delivery as a file system: each chunk is opened when somebody reads it, and stands in memory only as long as it is
// read (a bounded cache here, the kernel's page cache where it has room). Works with whatever maps, reads or reads
// directly.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "deliver/delivery.h"

namespace tb::deliver {

struct MountOptions {
  std::string model_dir;    ///< TB_MODEL_DIR: made 0711 if it is not there; what is mounted covers it
  uid_t runtime_uid = 0;    ///< owner of what is delivered: files 0400, directories 0500; nobody else may open them
  bool allow_swap = false;  ///< TB_ALLOW_SWAP
  /// The files of a model directory stand in model_dir itself; else everything is below one entry, the model's name, as
  /// with tmpfs.
  bool bare = false;
};

class Mount : public Delivery {
 public:
  /// True if somebody else has unmounted it.
  virtual bool ended() const = 0;
};

/// Guards the place and removes leftovers of ours, a dead mount among them. Throws Error: "swap_enabled",
/// "path_unsafe". serve() throws "mount_refused". As a ChunkSink it takes chunks that were opened elsewhere after
/// serve(): they are pushed into the page cache of files that are in use, as far as there is time and memory.
std::unique_ptr<Mount> make_mount(MountOptions options);

/// Whether this process can mount here: by mounting an empty directory for a moment in a directory of its own below
/// `directory`. The error, "mount_refused", says why not.
Result<> mount_works(const std::string& directory = "/dev/shm");

/// Whether `model_dir` can take a mount: made as make_mount() makes it, free of what we left, and otherwise empty and
/// no mount point. "path_unsafe" says why not.
Result<> mount_fits(const std::string& model_dir, uid_t runtime_uid);

}  // namespace tb::deliver
