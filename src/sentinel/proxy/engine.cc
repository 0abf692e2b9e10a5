#include "sentinel/proxy/engine.h"

#include <algorithm>
#include <ranges>

#include "base/crypto.h"

namespace tb::sentinel::proxy {
namespace {

/// Deadlines are met no more exactly than this, so that a round does not serve one of them only.
constexpr std::int64_t kDeadlineGrainMs = 10;

}  // namespace

void RequestIds::next(std::string& id) {
  if (used_ == drawn_.size()) {
    random_bytes(drawn_);
    used_ = 0;
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  id.resize(2 * kIdBytes);
  for (std::size_t i = 0; i < kIdBytes; ++i) {
    const std::uint8_t byte = drawn_[used_++];
    id[2 * i] = kHex[byte >> 4];
    id[2 * i + 1] = kHex[byte & 15];
  }
}

Instruments::Instruments(obs::Metrics& metrics)
    : connections(metrics.gauge("trustbridge_sentinel_connections", "connections of clients")),
      upstream_connections(
          metrics.counter("trustbridge_sentinel_upstream_connections_total", "connections made to the runtime")),
      turned_away(metrics.counter("trustbridge_sentinel_connections_refused_total", "connections beyond the limit")),
      timeouts(metrics.counter("trustbridge_sentinel_client_timeouts_total", "connections cut for their slowness")),
      drained(metrics.counter("trustbridge_sentinel_answers_read_on_total",
                              "answers read to their end for their numbers after the client had left")),
      drained_bytes(metrics.counter("trustbridge_sentinel_answer_bytes_read_on_total", "bytes of the same")),
      cut_streams(metrics.counter("trustbridge_sentinel_streams_cut_total", "streams ended by an error event of ours")),
      tls_failures(metrics.counter("trustbridge_sentinel_tls_handshakes_failed_total", "TLS handshakes that failed")),
      http2_connections(
          metrics.counter("trustbridge_sentinel_http2_connections_total", "connections that chose HTTP/2")),
      floods(metrics.counter("trustbridge_sentinel_http2_floods_total",
                             "HTTP/2 connections ended for frames that ask for nothing")) {}

Engine::Engine(const ProxyOptions& options_in, const std::vector<std::unique_ptr<Filter>>& filters_in, obs::Log log_in,
               obs::Metrics& metrics)
    : options(options_in),
      filters(filters_in),
      log(std::move(log_in)),
      instruments(metrics),
      allowed(options_in.allowed),
      pool(poller, options_in.upstream, options_in.pool_idle_ms, options_in.pool_size) {}

Engine::~Engine() = default;

void Engine::round() {
  std::int64_t wait = -1;
  if (next_deadline != std::numeric_limits<std::int64_t>::max()) {
    wait = std::max<std::int64_t>(next_deadline - poller.now_ms(), 0) + kDeadlineGrainMs;
  }
  if (!waiting_again.empty()) wait = 0;
  poller.round(wait);
  std::vector<Client*> more;
  more.swap(waiting_again);
  for (std::size_t i = 0; i < more.size(); ++i) more[i]->resume();
  if (poller.now_ms() >= next_deadline) check_deadlines();
  for (const auto& filter : filters) filter->after_round();
}

void Engine::note_refused(const Peer& peer, int status) {
  Exchange exchange;
  ids.next(exchange.request_id);
  exchange.peer = peer;
  exchange.status = status;
  exchange.outcome = Outcome::kRefused;
  exchange.started_boot_ms = poller.now_ms();
  std::vector<std::unique_ptr<Visit>> visits;
  for (const auto& filter : filters) visits.push_back(filter->visit(exchange));
  for (const auto& visit : visits | std::views::reverse) visit->on_end(exchange);
}

void Engine::check_deadlines() {
  next_deadline = std::numeric_limits<std::int64_t>::max();
  // Backwards: a client that ends is replaced by the last one, which has been looked at.
  for (std::size_t i = clients.size(); i-- > 0;) {
    if (i < clients.size()) clients[i]->check_deadlines(poller.now_ms());
  }
  if (!job_) return;
  if (poller.now_ms() >= job_at_) {
    std::exchange(job_, nullptr)();
  } else {
    note_deadline(job_at_);
  }
}

void Engine::call_at(std::int64_t boot_ms, std::function<void()> job) {
  job_at_ = boot_ms;
  job_ = std::move(job);
  note_deadline(boot_ms);
}

void Engine::add(std::unique_ptr<Client> client) {
  client->place = clients.size();
  clients.push_back(std::move(client));
  instruments.connections.set(static_cast<double>(clients.size()));
  clients.back()->begin();
}

void Engine::remove(Client& client) {
  std::erase(waiting_again, &client);
  const std::size_t place = client.place;
  std::unique_ptr<Client> gone = std::move(clients[place]);
  if (place + 1 != clients.size()) {
    clients[place] = std::move(clients.back());
    clients[place]->place = place;
  }
  clients.pop_back();
  instruments.connections.set(static_cast<double>(clients.size()));
  poller.retire(std::move(gone));
}

void Engine::again(Client& client) {
  waiting_again.push_back(&client);
}

void Engine::cut(const Refusal& reason) {
  pool.clear();
  std::vector<Client*> all;
  for (const auto& client : clients) all.push_back(client.get());
  for (Client* client : all) client->cut(reason);
}

void Engine::say_ending(bool draining_now) {
  last_requests = true;
  draining = draining || draining_now;
  std::vector<Client*> all;
  for (const auto& client : clients) all.push_back(client.get());
  for (Client* client : all) draining ? client->close_if_idle() : client->say_ending();
}

std::size_t Engine::left_of_cut() const {
  return static_cast<std::size_t>(std::ranges::count_if(clients, [](const auto& client) { return client->is_cut(); }));
}

}  // namespace tb::sentinel::proxy
