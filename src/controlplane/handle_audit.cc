// The control plane as the witness of its sentinels' audit logs (C2SP tlog-witness, add-checkpoint): it countersigns a
// checkpoint only if it continues the last one that it countersigned, so that a consumer's log can be cut or rewritten
// no more without showing it.
//
// Which key a log is signed with needs no trust of its own: the origin is the key's hash (tlog::keyed_origin, `audit`).
// The first checkpoint of an origin brings the key and names the lease, and the contract's credential vouches for both.
#include "controlplane/caller.h"
#include "controlplane/event_log.h"
#include "controlplane/handlers.h"
#include "controlplane/page_query.h"
#include "controlplane/sentinel_credential.h"

namespace tb::controlplane {
namespace {

struct Submission {
  tlog::AddCheckpoint request;
  tlog::Checkpoint checkpoint;
  std::optional<store::WitnessedLog> known;
  Ed25519PublicKey key{};
  std::string tenant, contract_id, lease_id;
};

std::string required(const http::Request& request, std::string_view name) {
  auto value = request.query.one(name);
  if (!value || value->empty())
    throw Error("usage", "say which " + std::string(name) + " with ?" + std::string(name) + "=");
  return std::move(*value);
}

/// The key that was registered, or the one that comes with the first checkpoint, if the origin is its hash.
Ed25519PublicKey key_of(const http::Request& request, const std::string& origin,
                        const std::optional<store::WitnessedLog>& known) {
  if (known) return known->key;
  const auto text = request.query.one("key");
  const auto bytes = from_base64url(text.value_or(""));
  Ed25519PublicKey key{};
  if (!text || !bytes || bytes->size() != key.size()) {
    throw Error("audit_origin_unknown", "no log of this origin is known, and no key came with it");
  }
  std::ranges::copy(*bytes, key.begin());
  if (origin != tlog::keyed_origin(key, "audit")) {
    throw Error("audit_origin_unknown", "the origin is not that of the key that came with it");
  }
  return key;
}

http::Response wrong_size(std::uint64_t size) {
  return http::text(409, std::to_string(size) + "\n", "text/x.tlog.size");
}

store::Event audit_event(const Submission& submission, std::string type) {
  store::Event event{
      .type = std::move(type), .tenant = submission.tenant, .actor = "sentinel", .subject = submission.contract_id};
  event.detail.set("origin", submission.checkpoint.origin);
  event.detail.set("lease_id", submission.lease_id);
  return event;
}

/// Two checkpoints by one key that cannot both be of one log: kept, as nobody can take them back.
void record_contradiction(const Submission& submission, std::string type, Deps& deps) {
  store::Event event = audit_event(submission, std::move(type));
  event.detail.set("countersigned", submission.known ? submission.known->checkpoint : "");
  event.detail.set("submitted", submission.request.checkpoint.to_text());
  deps.store.append_event(event);
}

http::Response cosigned(const Submission& submission, Deps& deps) {
  const Ed25519PrivateKey& identity = deps.keyring.identity();
  const auto line = tlog::cosign(identity, witness_name(identity.public_key()), submission.request.checkpoint.text,
                                 static_cast<std::uint64_t>(deps.clock() / 1000));
  return http::text(200, line.to_line());
}

http::Response advance(const Submission& submission, Deps& deps) {
  const store::WitnessedLog log{.origin = submission.checkpoint.origin,
                                .key = submission.key,
                                .lease_id = submission.lease_id,
                                .size = submission.checkpoint.size,
                                .root = submission.checkpoint.root,
                                .checkpoint = submission.request.checkpoint.to_text(),
                                .updated_at = deps.clock()};
  store::Event event = audit_event(submission, submission.known ? "audit_checkpoint" : "audit_log_registered");
  event.detail.set("size", log.size);
  event.detail.set("root", to_hex(log.root));
  std::optional<std::uint64_t> old_size;
  if (submission.known) old_size = submission.known->size;
  switch (deps.store.advance_audit_log(submission.tenant, submission.contract_id, old_size, log, event)) {
    case store::WitnessOutcome::kAdvanced:
      return cosigned(submission, deps);
    case store::WitnessOutcome::kUnknownLease:
      throw Error("lease_not_found", "the contract has no lease of this id");
    case store::WitnessOutcome::kTooMany:
      throw Error("quota_exhausted", "the contract has as many audit logs as it may have");
    case store::WitnessOutcome::kStale:
      break;
  }
  const auto now = deps.store.find_audit_log(submission.tenant, submission.contract_id, log.origin);
  return wrong_size(now ? now->size : 0);
}

/// C2SP tlog-witness, in its order.
http::Response judge(const Submission& submission, Deps& deps) {
  const auto& checkpoint = submission.checkpoint;
  const std::uint64_t old_size = submission.request.old_size;
  if (old_size > checkpoint.size) throw Error("bad_request", "the old size is larger than the checkpoint's");
  const std::uint64_t known_size = submission.known ? submission.known->size : 0;
  const Digest known_root = submission.known ? submission.known->root : tlog::empty_root();
  if (old_size != known_size) return wrong_size(known_size);
  if (checkpoint.size == known_size && checkpoint.root != known_root) {
    record_contradiction(submission, "audit_fork", deps);
    return wrong_size(known_size);
  }
  if (!tlog::verify_consistency(old_size, known_root, checkpoint.size, checkpoint.root,
                                submission.request.consistency)) {
    record_contradiction(submission, "audit_proof_refused", deps);
    throw Error("proof_mismatch", "the checkpoint is not shown to continue the one that was countersigned");
  }
  if (submission.known && checkpoint.size == known_size) return cosigned(submission, deps);
  return advance(submission, deps);
}

}  // namespace

http::Response handle_audit_checkpoint(const http::Request& request, Deps& deps) {
  request.query.only({"contract_id", "lease_id", "key"});
  Submission submission;
  submission.contract_id = required(request, "contract_id");
  submission.lease_id = required(request, "lease_id");
  submission.request = tlog::AddCheckpoint::parse(request.body);
  const auto sentinel = proven_sentinel(request, submission.contract_id, deps);
  if (!sentinel) return denied("authentication_required", deps);
  if (auto refusal = refusal_unless_holder(*sentinel, submission.lease_id, deps)) return std::move(*refusal);
  submission.tenant = sentinel->row.contract.tenant;
  const std::string origin = tlog::Checkpoint::parse(submission.request.checkpoint.text).origin;
  submission.known = deps.store.find_audit_log(submission.tenant, submission.contract_id, origin);
  submission.key = key_of(request, origin, submission.known);
  submission.checkpoint = tlog::verified_checkpoint(submission.request.checkpoint, submission.key);
  return judge(submission, deps);
}

http::Response handle_list_audit_logs(const http::Request& request, Deps& deps) {
  const PageQuery page = page_query(request);
  const std::string tenant = tenant_of(request);
  const std::string& id = request.param("id");
  if (!deps.store.find_contract(tenant, id)) throw Error("contract_not_found", "there is no contract " + id);
  const auto rows = deps.store.list_audit_logs(tenant, id, page.cursor, page.limit + 1);
  return page_response(
      page, rows,
      [](const store::WitnessedLog& log) {
        Json item = Json::object();
        item.set("origin", log.origin);
        item.set("key", to_base64url(log.key));
        item.set("lease_id", log.lease_id);
        item.set("size", log.size);
        item.set("checkpoint", log.checkpoint);
        item.set("updated_at", to_rfc3339(log.updated_at, true));
        return item;
      },
      [](const store::WitnessedLog& log) { return log.origin; });
}

}  // namespace tb::controlplane
