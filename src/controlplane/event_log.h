// The control plane's own log as others check it: checkpoints signed by the identity key, and proofs out of the store's
// rows. Everything is made from the store's state at the request: signing costs less than reading the row does, and as
// Ed25519 gives the same signature for the same state, two nodes on one database answer alike.
#pragma once

#include <string>

#include "controlplane/deps.h"
#include "tlog/proof.h"
#include "tlog/tile.h"

namespace tb::controlplane {

/// tlog::keyed_origin of `events`.
std::string events_origin(const Ed25519PublicKey& identity);
/// tlog::keyed_origin of `witness`: the name of our cosignatures.
std::string witness_name(const Ed25519PublicKey& identity);

/// Rows of the tree over the events; `store` must outlive it.
tlog::RowReader event_rows(store::Store& store);

tlog::Note events_checkpoint(const tlog::Frontier& tree, const Keyring& keyring);
/// That the event is in the newest checkpoint; carries its line.
tlog::InclusionProof event_proof(const store::StoredEvent& event, Deps& deps);
/// That the newest checkpoint continues the tree of `old_size`, in the form of add-checkpoint. Throws "usage" for a
/// size that the log has not reached.
tlog::AddCheckpoint events_consistency(std::uint64_t old_size, Deps& deps);

/// What an audit of the whole log found: counts, head and root, in words. Throws "chain_broken" (a line, or a row of
/// the tree), "log_forked" if the log does not continue `earlier`, a checkpoint that was kept from before.
std::string verify_events(store::Store& store, const std::optional<tlog::Checkpoint>& earlier = {});

}  // namespace tb::controlplane
