// The event log as a tiled transparency log (C2SP tlog-tiles), and proofs out of it. A checkpoint tells nobody's
// business and is for every token. Tiles and entries are for operators and for auditors of everything: the hash of
// another tenant's event lets a guess of it be checked.
#include "controlplane/caller.h"
#include "controlplane/event_log.h"
#include "controlplane/handlers.h"

namespace tb::controlplane {
namespace {

constexpr std::string_view kTilePrefix = "/api/v1/log/tile/";
constexpr std::string_view kPlainText = "text/plain; charset=utf-8";
constexpr std::string_view kOctets = "application/octet-stream";

std::uint64_t number_of(const std::string& text, std::string_view what) {
  try {
    return tlog::parse_size(text, what);
  } catch (const Error& error) {
    throw Error("usage", error.message);
  }
}

Bytes hashes_of(const tlog::TileId& tile, store::Store& store) {
  Bytes out;
  for (const Digest& hash : store.event_hashes(*tile.level, tile.index * tlog::kTileWidth, tile.width)) {
    out.insert(out.end(), hash.begin(), hash.end());
  }
  return out;
}

Bytes entries_of(const tlog::TileId& tile, store::Store& store) {
  constexpr std::size_t kMaxEntryBytes = 65535;  // its length has two bytes
  Bytes out;
  const auto first = static_cast<std::int64_t>(tile.index * tlog::kTileWidth);
  for (const auto& event : store.list_events({}, first - 1, static_cast<std::int64_t>(tile.width))) {
    if (event.line.size() > kMaxEntryBytes) {
      throw Error("not_found", "an event of this bundle is too long for it: read it at /api/v1/events");
    }
    std::array<std::uint8_t, 2> length{};
    store_be16(length.data(), static_cast<std::uint16_t>(event.line.size()));
    out.insert(out.end(), length.begin(), length.end());
    out.insert(out.end(), event.line.begin(), event.line.end());
  }
  return out;
}

}  // namespace

http::Response handle_log_checkpoint(const http::Request& request, Deps& deps) {
  request.query.only({});
  http::Response response = http::text(200, events_checkpoint(deps.store.event_tree(), deps.keyring).to_text());
  response.headers.set("Cache-Control", "no-store");
  return response;
}

http::Response handle_log_consistency(const http::Request& request, Deps& deps) {
  request.query.only({"from"});
  const auto from = request.query.one("from");
  if (!from) throw Error("usage", "say from which size with ?from=");
  return http::text(200, events_consistency(number_of(*from, "from"), deps).to_text(), kPlainText);
}

http::Response handle_log_tile(const http::Request& request, Deps& deps) {
  request.query.only({});
  if (!caller_of(request).tenant.empty()) throw Error("role_denied", "tiles are for tokens that are of no tenant");
  const auto tile = tlog::parse_tile_path(std::string_view(request.path).substr(kTilePrefix.size()));
  if (!tile) throw Error("not_found", "this is no path of a tile");
  // A partial tile of an older, smaller tree is served for good.
  if (tlog::tile_width(tile->level.value_or(0), tile->index, deps.store.event_tree().size()) < tile->width) {
    throw Error("not_found", "the log has not grown so far");
  }
  const Bytes body = tile->level ? hashes_of(*tile, deps.store) : entries_of(*tile, deps.store);
  http::Response response = http::text(200, std::string(as_text(body)), kOctets);
  response.headers.set("Cache-Control", "private, max-age=31536000, immutable");
  return response;
}

http::Response handle_event_proof(const http::Request& request, Deps& deps) {
  request.query.only({"tenant"});
  const auto seq = number_of(request.param("seq"), "the number of the event");
  const auto event = deps.store.find_event(scope_of(request), static_cast<std::int64_t>(seq));
  if (!event) throw Error("not_found", "there is no such event");
  return http::text(200, event_proof(*event, deps).to_text(), kPlainText);
}

}  // namespace tb::controlplane
