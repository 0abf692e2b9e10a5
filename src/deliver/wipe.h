// Overwriting and removing files that hold plaintext, without following a link that somebody else put there.
#pragma once

#include <string>

#include "base/fs.h"
#include "base/result.h"

namespace tb::deliver {

/// Overwrites the regular file `name` in directory `dir_fd` with zeros and unlinks it; a link or other kind of file is
/// unlinked only. Absent is success. Whoever still has it open or mapped sees zeros.
Result<> wipe_file_at(int dir_fd, const std::string& name);
/// wipe_file_at for everything below the directory `name`, then the directory; a regular file is wiped. Goes on after a
/// failure and reports the first.
Result<> wipe_tree_at(int dir_fd, const std::string& name);

/// Opens a directory of ours: no link followed in its last component, owned by us (or root), not writable by others
/// ("path_unsafe"); made with `mode` if absent.
Result<Fd> open_owned_dir(const std::string& path, mode_t mode);

}  // namespace tb::deliver
