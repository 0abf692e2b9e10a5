#include "sentinel/expectation.h"

namespace tb::sentinel {
namespace {

asset::Metadata metadata_of(const api::AssetMetadata& wire) {
  return {.format = wire.format,
          .algo = wire.algo,
          .chunk_bytes = static_cast<std::uint32_t>(wire.chunk_bytes),
          .plaintext_bytes = static_cast<std::uint64_t>(wire.plaintext_bytes),
          .sha256_ciphertext = wire.sha256_ciphertext};
}

}  // namespace

asset::Expectation expectation_of(const Config& config, const Lease& lease) {
  return {.asset_id = config.asset_id,
          .manifest_sha256 = lease.manifest_sha256,
          .metadata = lease.metadata ? std::optional(metadata_of(*lease.metadata)) : std::nullopt,
          .provider_key = config.provider_key,
          .allow_unauthenticated = config.allow_unauthenticated_manifest};
}

}  // namespace tb::sentinel
