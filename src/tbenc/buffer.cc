#include "tbenc/buffer.h"

#include <fmt/format.h>

#include <new>

namespace tb::tbenc {

Result<WipedBuffer> allocate_buffer(std::size_t bytes) {
  try {
    return WipedBuffer(bytes);
  } catch (const std::bad_alloc&) {
    return fail("out_of_memory", fmt::format("no memory for a buffer of {} bytes", bytes));
  }
}

}  // namespace tb::tbenc
