// What every delivery does with TB_MODEL_DIR: the name that the model gets in it, and the end of what an earlier run
// left there, by whichever delivery.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "asset/manifest.h"
#include "base/result.h"

namespace tb::deliver {

/// What is being built, not yet under its name.
inline constexpr std::string_view kHiddenPrefix = ".hydrating-";

/// "gpt.gguf.tbenc" → "gpt.gguf"; the content's own name where it gives one. "path_unsafe" if that is hidden or no file
/// name.
Result<std::string> model_name(const asset::Manifest& manifest);

/// Notes that the entry `name` of the directory is ours, so that nothing else in it is ever removed.
Result<> write_marker(int dir_fd, const std::string& name);
Result<> remove_marker(int dir_fd);

/// Wipes and removes what an earlier run was building, and what its marker names. "path_unsafe" for what is neither
/// ours nor the runtime's. `path` names the directory in errors.
Result<> remove_leftovers(int dir_fd, const std::string& path, uid_t runtime_uid);

}  // namespace tb::deliver
