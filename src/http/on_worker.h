// The step from a connection's coroutine to a worker and back, and the fence that turns what a handler throws into what
// a client may read. Internal to http/.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>

#include "http/connection.h"

namespace tb::http {

/// Runs `step`; what it throws is told to the log and comes back as the error to answer with.
template <typename Step>
std::optional<Error> refusal_of(Step&& step, const obs::Log& log) noexcept {
  try {
    step();
    return std::nullopt;
  } catch (const Error& e) {
    const bool ours = e.http_status() >= 500;
    log.error("request refused", e, ours ? obs::Level::kError : obs::Level::kDebug);
    return e;
  } catch (const std::exception& e) {
    const std::string why = e.what();
    log.error("handler failed", {{"error", why}});
  } catch (...) {
    log.error("handler failed", {{"error", "unknown exception"}});
  }
  return Error("internal", "handler failed");
}

template <typename Job>
boost::asio::awaitable<bool> Connection::on_worker(Job& job) {
  const auto executor = co_await boost::asio::this_coro::executor;
  bool refused = false;
  auto start = [&](auto handler) {
    async::Workers::Job task = [&job, &refused, executor, handler = std::move(handler)]() mutable {
      const bool ran = !refused;
      if (ran) job();
      auto resume = [handler = std::move(handler), ran]() mutable { std::move(handler)(ran); };
      boost::asio::post(executor, std::move(resume));
    };
    if (!shared_.workers->try_submit(std::move(task))) {
      refused = true;
      task();  // NOLINT(bugprone-use-after-move): a refused job is left untouched
    }
  };
  co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void(bool)>(
      start, boost::asio::use_awaitable);
}

}  // namespace tb::http
