#include "azure/block_plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::azure {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::size_t kDigestBytes = 24;

}  // namespace

Result<BlockPlan> BlockPlan::make(std::uint64_t total_bytes, std::uint64_t block_bytes) {
  const std::uint64_t needed = total_bytes / kMostBlocks + (total_bytes % kMostBlocks != 0 ? 1 : 0);
  if (needed > kMostBlockBytes) {
    return fail("file_too_large",
                fmt::format("a blob of {} blocks of 64 MiB does not hold {} bytes", kMostBlocks, total_bytes));
  }
  if (block_bytes > kMostBlockBytes) return fail("usage", "a block has at most 64 MiB");
  if (block_bytes == 0) block_bytes = std::max(kLeastBlockBytes, (needed + kMib - 1) / kMib * kMib);
  if (block_bytes < needed) {
    return fail("file_too_large", fmt::format("{} bytes need blocks of at least {} bytes", total_bytes, needed));
  }
  BlockPlan plan;
  plan.total_bytes_ = total_bytes;
  plan.block_bytes_ = block_bytes;
  plan.count_ = static_cast<std::uint32_t>(total_bytes / block_bytes + (total_bytes % block_bytes != 0 ? 1 : 0));
  return plan;
}

Block BlockPlan::block(std::uint32_t number) const {
  const std::uint64_t offset = number * block_bytes_;
  return {number, offset, std::min(block_bytes_, total_bytes_ - offset)};
}

std::string BlockPlan::id(std::uint32_t number, const Digest& digest) const {
  std::array<std::uint8_t, 8 + kDigestBytes> raw{};
  store_be32(raw.data(), number);
  store_be32(raw.data() + 4, static_cast<std::uint32_t>(block_bytes_));
  std::copy_n(digest.begin(), kDigestBytes, raw.begin() + 8);
  return to_base64(raw);
}

std::string block_list_body(std::span<const std::string> ids) {
  std::string out = R"(<?xml version="1.0" encoding="utf-8"?><BlockList>)";
  out.reserve(out.size() + ids.size() * 64 + 16);
  for (const std::string& id : ids) out += "<Latest>" + id + "</Latest>";
  return out + "</BlockList>";
}

}  // namespace tb::azure
