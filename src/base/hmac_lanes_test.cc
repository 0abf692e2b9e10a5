#include "base/hmac_lanes.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <vector>

namespace tb {
namespace {

TEST(HmacLanes, EveryNumberOfJobsAndEveryLengthEqualsOneByOne) {
  HmacLanes lanes;
  if (!lanes.has_lanes()) std::puts("this build or machine has no lanes: only the fallback is tested");
  Bytes text(5000);
  random_bytes(text);
  std::vector<HmacKey> keys;
  for (std::size_t i = 0; i < 7; ++i) keys.emplace_back(ByteView(text).subspan(i, 32));
  for (const std::size_t count : {0U, 1U, 2U, 3U, 9U, 10U, 16U, 17U, 128U, 129U, 300U}) {
    std::vector<Digest> out(count);
    std::vector<HmacJob> jobs;
    for (std::size_t i = 0; i < count; ++i) {
      // Around the lengths where padding takes another block; empty ones among them.
      const std::size_t bytes = i % 11 == 3 ? 0 : (i * 61) % 4800 / (i % 3 + 1);
      jobs.push_back({&keys[i % keys.size()], ByteView(text).subspan(i % 97, bytes), &out[i]});
    }
    lanes.run(jobs);
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_EQ(out[i], jobs[i].key->mac(jobs[i].message)) << count << " jobs, number " << i;
    }
  }
}

TEST(HmacLanes, LengthsAroundOneBlock) {
  HmacLanes lanes;
  const Bytes text(200, 0xa5);
  const HmacKey key(as_bytes("Jefe"));
  for (std::size_t bytes = 0; bytes < text.size(); ++bytes) {
    std::array<Digest, 12> out;
    std::vector<HmacJob> jobs;
    for (Digest& each : out) jobs.push_back({&key, ByteView(text).first(bytes), &each});
    lanes.run(jobs);
    for (const Digest& each : out) ASSERT_EQ(each, key.mac(ByteView(text).first(bytes))) << bytes;
  }
}

}  // namespace
}  // namespace tb
