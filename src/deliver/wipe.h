// Directories of ours, and overwriting and removing files that hold plaintext, without following a link that somebody
// else put there.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fs.h"
#include "base/result.h"

namespace tb::deliver {

/// Opens the directory `path` (absolute): missing parts are made (0711, the last with `mode`); the last part must be a
/// directory, no link, owned by us, not writable by others; links among the others must be root's or ours.
/// "path_unsafe" names the part that is not so.
Result<Fd> open_owned_dir(const std::string& path, mode_t mode);

/// Names in an open directory, without "." and "..". `what` names it in errors.
Result<std::vector<std::string>> names_in(int dir_fd, const std::string& what);

/// Overwrites the regular file `name` in directory `dir_fd` with zeros and unlinks it; a link or anything else that is
/// no directory is unlinked only. Absent is success. Whoever still has it open or mapped sees zeros.
Result<> wipe_file_at(int dir_fd, const std::string& name);

/// wipe_file_at for everything below the directory `name`, then the directory; anything else is wiped as a file. Takes
/// directories back from the runtime's user first, so that nothing changes under its hands. Goes on after a failure and
/// reports the first.
Result<> wipe_tree_at(int dir_fd, const std::string& name);

}  // namespace tb::deliver
