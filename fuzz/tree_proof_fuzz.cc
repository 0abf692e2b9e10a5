// Verification of Merkle proofs: any sizes and any hashes end in a verdict, and a proof that is accepted is the one
// that RFC 6962 gives.
#include <algorithm>

#include "fuzz.h"
#include "tlog/chain.h"
#include "tlog/tree.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::tlog;
  if (bytes < 16) return 0;
  const std::uint64_t first = tb::load_be64(data);
  const std::uint64_t second = tb::load_be64(data + 8);
  std::vector<tb::Digest> proof;
  for (std::size_t at = 16; at + 32 <= bytes && proof.size() < 80; at += 32) {
    std::copy_n(data + at, 32, proof.emplace_back().begin());
  }
  const tb::Digest root = leaf_hash("root");
  FUZZ_CHECK(!verify_inclusion(leaf_hash("leaf"), first, second, proof, root));
  const bool trivial = first <= second && proof.empty() && (first == 0 || first == second);
  FUZZ_CHECK(verify_consistency(first, root, second, root, proof) == trivial);

  // The same bytes as a change to a true proof: only the true one is accepted.
  const std::uint64_t size = second % 64 + 1;
  const std::uint64_t index = first % size;
  const NodeReader read = [](unsigned height, std::uint64_t at) {
    Frontier part;
    for (std::uint64_t i = at << height; i < (at + 1) << height; ++i) part.append(leaf_hash(std::to_string(i)));
    return part.root();
  };
  auto changed = inclusion_proof(index, size, read);
  const auto whole = changed;
  if (!proof.empty() && !changed.empty()) changed[data[16] % changed.size()] = proof.front();
  const bool accepted = verify_inclusion(leaf_hash(std::to_string(index)), index, size, changed, root_at(size, read));
  FUZZ_CHECK(accepted == (changed == whole));
  return 0;
}
