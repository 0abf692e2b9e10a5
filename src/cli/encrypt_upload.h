// encrypt --upload: sealed and sent in one pass, no ciphertext on this machine's disks. Key and manifest stay here.
#pragma once

#include "cli/asset_store.h"
#include "cli/encrypt.h"

namespace tb::cli {

struct SentAsset {
  EncryptedAsset encrypted;  ///< `ciphertext` is the blob's URL
  Uploaded uploaded;
};

/// In this order, each durable before the next: a note that this is under way, the key, the ciphertext's bytes at the
/// store, the manifest here, the ciphertext's appearance, the manifest's at the store. What was interrupted is never
/// continued under its key (docs/decisions/0045): the same command again finishes what had appeared, and else discards
/// the unfinished key, which has opened nothing, and begins with a new one. Throws the errors of encrypt_asset and of
/// the store.
SentAsset encrypt_and_upload(const EncryptOptions& options, AssetStore& store, const Console& console);

}  // namespace tb::cli
