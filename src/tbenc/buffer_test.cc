#include "tbenc/buffer.h"

#include <gtest/gtest.h>

namespace tb::tbenc {
namespace {

TEST(Buffer, MemoryThatIsNotThereIsAnError) {
  EXPECT_EQ(allocate_buffer(std::size_t{1} << 60).error().reason, "out_of_memory");
  EXPECT_EQ(allocate_buffer(5).value().size(), 5U);
}

}  // namespace
}  // namespace tb::tbenc
