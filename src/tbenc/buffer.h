// A WipedBuffer without exceptions, for a folder that does not throw.
#pragma once

#include "base/result.h"
#include "base/secret.h"

namespace tb::tbenc {

/// `bytes` of zeroed memory, wiped when it dies; "out_of_memory" where the address space does not hold it.
Result<WipedBuffer> allocate_buffer(std::size_t bytes);

}  // namespace tb::tbenc
