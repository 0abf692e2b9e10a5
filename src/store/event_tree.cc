// The Merkle tree over the event log, grown in the transaction of each append. Work and memory for an append are those
// of one row of at most 64 hashes; only every 256th adds a second row.
#include "sql/connection.h"
#include "store/sql_store.h"
#include "tlog/tile.h"

namespace tb::store {
namespace {

Digest digest_of(const Bytes& bytes) {
  Digest out;
  if (bytes.size() != out.size()) throw Error("chain_broken", "a hash of the event log's tree is cut short");
  std::ranges::copy(bytes, out.begin());
  return out;
}

}  // namespace

SqlStore::EventLog SqlStore::event_log(sql::Connection& db) {
  auto row = db.prepare("SELECT size, last_leaf, frontier FROM event_tree WHERE id = 1");
  if (!row.step()) return {};
  return {.tree = tlog::Frontier::from_bytes(static_cast<std::uint64_t>(row.integer(0)), row.blob(2)),
          .last_leaf = digest_of(row.blob(1))};
}

void SqlStore::add_leaf(sql::Connection& db, EventLog& log, const Digest& leaf) {
  for (const tlog::Node& node : log.tree.append(leaf)) {
    if (node.height == 0 || node.height % tlog::kTileHeight != 0) continue;
    db.prepare("INSERT INTO event_node (level, node, hash) VALUES (?,?,?)")
        .bind(static_cast<std::int64_t>(node.height / tlog::kTileHeight))
        .bind(static_cast<std::int64_t>(node.index))
        .bind(ByteView(node.hash))
        .run();
  }
  log.last_leaf = leaf;
}

void SqlStore::keep(sql::Connection& db, const EventLog& log) {
  const Bytes frontier = log.tree.to_bytes();
  db.prepare(
        "INSERT INTO event_tree (id, size, last_leaf, frontier) VALUES (1,?,?,?) ON CONFLICT (id) DO UPDATE SET "
        "size = excluded.size, last_leaf = excluded.last_leaf, frontier = excluded.frontier")
      .bind(static_cast<std::int64_t>(log.tree.size()))
      .bind(ByteView(log.last_leaf))
      .bind(ByteView(frontier))
      .run();
}

void SqlStore::take_in_old_events(sql::Connection& db) {
  constexpr std::int64_t kBatch = 1000;
  for (bool more = true; more;) {
    sql::Transaction change(db);
    EventLog log = event_log(db);
    const auto before = log.tree.size();
    auto rows = db.prepare("SELECT seq, line FROM event WHERE seq >= ? ORDER BY seq LIMIT ?");
    rows.bind(static_cast<std::int64_t>(before)).bind(kBatch);
    while (rows.step()) {
      if (static_cast<std::uint64_t>(rows.integer(0)) != log.tree.size()) {
        throw Error("chain_broken", "record " + std::to_string(log.tree.size()) + " of the event log is missing");
      }
      add_leaf(db, log, tlog::leaf_hash(rows.text(1)));
    }
    more = log.tree.size() != before;
    if (more) keep(db, log);
    change.commit();
  }
}

tlog::Frontier SqlStore::event_tree() {
  return read([](sql::Connection& db) { return event_log(db).tree; });
}

std::vector<Digest> SqlStore::event_hashes(unsigned level, std::uint64_t first, std::uint64_t count) {
  const auto begin = static_cast<std::int64_t>(first);
  const auto end = static_cast<std::int64_t>(first + count);
  return read([&](sql::Connection& db) {
    std::vector<Digest> out;
    if (level == 0) {
      auto rows = db.prepare("SELECT line FROM event WHERE seq >= ? AND seq < ? ORDER BY seq");
      rows.bind(begin).bind(end);
      while (rows.step()) out.push_back(tlog::leaf_hash(rows.text(0)));
      return out;
    }
    auto rows = db.prepare("SELECT hash FROM event_node WHERE level = ? AND node >= ? AND node < ? ORDER BY node");
    rows.bind(static_cast<std::int64_t>(level)).bind(begin).bind(end);
    while (rows.step()) out.push_back(digest_of(rows.blob(0)));
    return out;
  });
}

std::optional<StoredEvent> SqlStore::find_event(const Scope& scope, std::int64_t seq) {
  return read([&](sql::Connection& db) -> std::optional<StoredEvent> {
    auto row = db.prepare("SELECT seq, tenant, line FROM event WHERE seq = ?1 AND (?2 IS NULL OR tenant = ?2)");
    row.bind(seq).bind(scope);
    if (!row.step()) return std::nullopt;
    return StoredEvent{.seq = row.integer(0), .tenant = row.text(1), .line = row.text(2)};
  });
}

}  // namespace tb::store
