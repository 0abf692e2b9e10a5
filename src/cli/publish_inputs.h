// What a step would be done with now, as digests: how `publish` sees that a model or a flag is another one than before.
#pragma once

#include <string>

#include "cli/publish_plan.h"
#include "cli/publish_state.h"

namespace tb::cli {

/// "arguments" and each of the step's inputs; one that is not there is "missing". Throws the errors of reading.
Fingerprints fingerprints_of(const Step& step);

/// SHA-256 of a file, hex.
std::string file_sha256(const std::string& path);

}  // namespace tb::cli
