#include "controlplane/event_log.h"

#include <fmt/format.h>

#include "tlog/chain.h"

namespace tb::controlplane {
namespace {

constexpr std::int64_t kBatch = 1000;

tlog::Checkpoint checkpoint_of(const tlog::Frontier& tree, const Ed25519PublicKey& identity) {
  return {.origin = events_origin(identity), .size = tree.size(), .root = tree.root(), .extensions = {}};
}

/// The rows above the leaves, as the store keeps them, against those that the lines give.
class RowCheck {
 public:
  explicit RowCheck(store::Store& store) : store_(store) {}

  void add(const std::vector<tlog::Node>& completed) {
    for (const auto& node : completed) {
      if (node.height == 0 || node.height % tlog::kTileHeight != 0) continue;
      const auto kept = store_.event_hashes(node.height / tlog::kTileHeight, node.index, 1);
      if (kept.size() != 1 || kept.front() != node.hash) {
        throw Error("chain_broken", fmt::format("the kept hash {} of level {} of the tree is not that of the records",
                                                node.index, node.height / tlog::kTileHeight));
      }
    }
  }

 private:
  store::Store& store_;
};

void compare(const tlog::Frontier& tree, const std::optional<tlog::Checkpoint>& earlier) {
  if (!earlier || earlier->size != tree.size() || earlier->root == tree.root()) return;
  throw Error("log_forked", fmt::format("the first {} records are not those of the earlier checkpoint", tree.size()));
}

}  // namespace

std::string events_origin(const Ed25519PublicKey& identity) {
  return tlog::keyed_origin(identity, "events");
}

std::string witness_name(const Ed25519PublicKey& identity) {
  return tlog::keyed_origin(identity, "witness");
}

tlog::RowReader event_rows(store::Store& store) {
  return [&store](unsigned level, std::uint64_t first, std::uint64_t count) {
    return store.event_hashes(level, first, count);
  };
}

tlog::Note events_checkpoint(const tlog::Frontier& tree, const Keyring& keyring) {
  const Ed25519PrivateKey& identity = keyring.identity();
  return tlog::sign_checkpoint(checkpoint_of(tree, identity.public_key()), identity);
}

tlog::InclusionProof event_proof(const store::StoredEvent& event, Deps& deps) {
  const tlog::Frontier tree = deps.store.event_tree();
  tlog::TiledNodes nodes(tree.size(), event_rows(deps.store));
  const auto index = static_cast<std::uint64_t>(event.seq);
  return {.extra = event.line,
          .index = index,
          .hashes = tlog::inclusion_proof(index, tree.size(), nodes.reader()),
          .checkpoint = events_checkpoint(tree, deps.keyring)};
}

tlog::AddCheckpoint events_consistency(std::uint64_t old_size, Deps& deps) {
  const tlog::Frontier tree = deps.store.event_tree();
  if (old_size > tree.size()) {
    throw Error("usage", fmt::format("the log has {} records, fewer than {}", tree.size(), old_size));
  }
  tlog::TiledNodes nodes(tree.size(), event_rows(deps.store));
  return {.old_size = old_size,
          .consistency = tlog::consistency_proof(old_size, tree.size(), nodes.reader()),
          .checkpoint = events_checkpoint(tree, deps.keyring)};
}

std::string verify_events(store::Store& store, const std::optional<tlog::Checkpoint>& earlier) {
  // Read first: what is appended meanwhile is checked as a chain, and lies beyond this tree.
  const tlog::Frontier kept = store.event_tree();
  tlog::ChainHead head;
  tlog::Frontier tree;
  RowCheck rows(store);
  compare(tree, earlier);
  for (std::int64_t after = -1;;) {
    const auto events = store.list_events({}, after, kBatch);
    for (const auto& event : events) {
      tlog::verify_record(head, event.line);
      rows.add(tree.append(head.prev));
      compare(tree, earlier);
      if (tree.size() == kept.size() && tree.root() != kept.root()) {
        throw Error("chain_broken", "the kept tree is not that of the records");
      }
    }
    if (static_cast<std::int64_t>(events.size()) < kBatch) break;
    after = events.back().seq;
  }
  if (tree.size() < kept.size()) {
    throw Error("chain_broken", fmt::format("{} records are there, the tree has {}", tree.size(), kept.size()));
  }
  if (earlier && tree.size() < earlier->size) {
    throw Error("log_forked",
                fmt::format("{} records are there, the earlier checkpoint has {}", tree.size(), earlier->size));
  }
  return fmt::format("{} records, head {}, root {}", head.records, to_hex(head.prev), to_hex(tree.root()));
}

}  // namespace tb::controlplane
