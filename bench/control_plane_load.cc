// What the control plane bears: authorize (proof verified, seat taken, lease and event on the disk, key sealed, grant
// signed) and renew, over keep-alive connections to the real program, beside the same handlers called in this process
// by as many threads, on SQLite and PostgreSQL with fsync; renewals of a fleet for a minute; memory and start.
//
//   control_plane_load PROGRAM DIRECTORY [--rounds N] [--scale PERCENT] [--sentinels N] [--seconds N]
//     [--contracts N] [--only PART]
#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <span>
#include <stdexcept>

#include "bench/control_plane_fleet.h"
#include "bench/cost.h"
#include "bench/http_load.h"
#include "bench/service.h"
#include "sql/postgres_server_test.h"

namespace tb::bench {
namespace {

struct Options {
  std::string program, directory;
  int rounds = 3;
  std::size_t scale = 100;  ///< per cent of the requests that a round has
  std::size_t sentinels = 10'000;
  std::size_t seconds = 60;
  std::size_t contracts = 64;  ///< that the sentinels are spread over
  std::string only;            ///< "sqlite", "postgres", or both
};

Options parse(std::span<char*> words) {
  if (words.size() < 3) throw std::runtime_error("usage: control_plane_load PROGRAM DIRECTORY [options]");
  Options out{.program = words[1], .directory = words[2], .only = {}};
  for (std::size_t i = 3; i + 1 < words.size(); i += 2) {
    const std::string_view name = words[i];
    const auto number = static_cast<std::size_t>(std::strtoul(words[i + 1], nullptr, 10));
    if (name == "--rounds") {
      out.rounds = static_cast<int>(number);
    } else if (name == "--scale") {
      out.scale = number;
    } else if (name == "--sentinels") {
      out.sentinels = number;
    } else if (name == "--seconds") {
      out.seconds = number;
    } else if (name == "--contracts") {
      out.contracts = number;
    } else if (name == "--only") {
      out.only = words[i + 1];
    } else {
      throw std::runtime_error("unknown option " + std::string(name));
    }
  }
  return out;
}

using Flags = std::map<std::string, std::string>;

void refuse_bad(const Load& load, std::string_view what) {
  if (!load.bad.empty()) {
    throw std::runtime_error(fmt::format("{}: {} bad answers, first: {}", what, load.bad.size(), load.bad.front()));
  }
}

/// One kind of request, many rounds of it.
struct Series {
  std::vector<double> per_second, p50, p99, cpu;
  void take(const Load& load, double cpu_seconds) {
    const auto count = static_cast<double>(load.latency.size());
    per_second.push_back(load.per_second());
    p50.push_back(load.percentile(0.5) * 1e3);
    p99.push_back(load.percentile(0.99) * 1e3);
    cpu.push_back(cpu_seconds / count * 1e3);
  }
};

struct Pair {
  Series server, in_process;
  std::vector<double> generator_cpu, ratio;

  void print(std::string_view what, std::size_t connections) const {
    fmt::print(
        "| {} | {} | {:.0f} | {:.1f}, {:.1f} | {:.2f} | {:.0f} | {:.1f}, {:.1f} | {:.2f} | {:.2f} | {:.0f} % |\n", what,
        connections, median(server.per_second), median(server.p50), median(server.p99), median(server.cpu),
        median(in_process.per_second), median(in_process.p50), median(in_process.p99), median(in_process.cpu),
        median(generator_cpu), median(ratio) * 100);
    std::fflush(stdout);
  }
};

class Bench {
 public:
  Bench(const Options& options, std::string name, Flags server_flags, Flags own_flags)
      : options_(options),
        name_(std::move(name)),
        own_(own_flags),
        own_fleet_(own_, {.contracts = options.contracts}),
        server_fleet_(make_server_fleet(server_flags, options.contracts)),
        service_(options.program, options.directory, server_flags) {}

  void closed_loops() {
    fmt::print(
        "\n{}: a second; p50, p99 in ms; processor time of a request in ms (the database server's not counted)\n\n"
        "| | connections | server | p50, p99 | cpu | in-process | p50, p99 | cpu | generator's cpu | of in-process |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n",
        name_);
    for (const auto& [connections, requests] : {std::pair<std::size_t, std::size_t>{1, 400}, {8, 1600}, {64, 3200}}) {
      Pair authorize, renew;
      for (int round = 0; round < options_.rounds; ++round) {
        const std::size_t count = std::max<std::size_t>(requests * options_.scale / 100, connections);
        one_round(authorize, connections, server_fleet_.authorize(count, service_.base_url()),
                  own_fleet_.authorize(count, kNowhere));
        one_round(renew, connections, server_fleet_.renew(service_.base_url()), own_fleet_.renew(kNowhere));
      }
      authorize.print("authorize", connections);
      renew.print("renew", connections);
    }
  }

  /// Every sentinel renews once, at a time of its own, on a connection of its own.
  void fleet() {
    if (options_.sentinels == 0) return;
    const Load seats = run_server(server_fleet_.authorize(options_.sentinels, service_.base_url()), {}, 32, false);
    refuse_bad(seats, "seats of the fleet");
    const auto calls = server_fleet_.renew(service_.base_url());
    std::mt19937_64 random(1);
    std::uniform_real_distribution<double> moment(0.001, static_cast<double>(options_.seconds));
    std::vector<double> due(calls.size());
    for (double& at : due) at = moment(random);
    std::ranges::sort(due);
    const double cpu = service_.cpu_seconds();
    const Load load = run_server(calls, due, 512, true);
    fmt::print(
        "\n{}: {} sentinels take seats at {:.0f}/s and renew within {} s: {} refused, p50 {:.1f} ms, p99 {:.1f} ms, "
        "longest {:.1f} ms; {:.0f} % "
        "of one "
        "core; resident {:.1f} MiB\n",
        name_, calls.size(), seats.per_second(), options_.seconds, load.bad.size(), load.percentile(0.5) * 1e3,
        load.percentile(0.99) * 1e3, load.percentile(1) * 1e3, (service_.cpu_seconds() - cpu) / load.wall * 100,
        service_.resident_mib());
    std::fflush(stdout);
    refuse_bad(load, "renewals of the fleet");
  }

 private:
  static constexpr const char* kNowhere = "http://127.0.0.1:1";

  static Fleet make_server_fleet(const Flags& flags, std::size_t contracts) {
    InProcess plane(flags);
    return {plane, {.contracts = contracts}};
  }

  Load run_server(const std::vector<Call>& calls, const std::vector<double>& due, std::size_t connections, bool fresh) {
    std::vector<Shot> shots(calls.size());
    for (std::size_t i = 0; i < calls.size(); ++i) {
      shots[i] = {.bytes = calls[i].to_http("127.0.0.1"), .due_seconds = due.empty() ? 0 : due[i]};
    }
    return send_all({.port = service_.port(), .connections = connections, .fresh_connections = fresh}, shots,
                    [this](std::size_t i, std::string_view body) { server_fleet_.take_answer(i, body); });
  }
  void one_round(Pair& pair, std::size_t connections, const std::vector<Call>& server_calls,
                 const std::vector<Call>& own_calls) {
    double cpu = service_.cpu_seconds();
    const Load server = run_server(server_calls, {}, connections, false);
    refuse_bad(server, "the server");
    pair.server.take(server, service_.cpu_seconds() - cpu);
    cpu = own_cpu_seconds();
    const Load own = call_all(own_, own_calls, connections,
                              [this](std::size_t i, std::string_view body) { own_fleet_.take_answer(i, body); });
    refuse_bad(own, "in-process");
    pair.in_process.take(own, own_cpu_seconds() - cpu);
    pair.generator_cpu.push_back(server.generator_cpu / static_cast<double>(server_calls.size()) * 1e3);
    // The generator's time is not the server's: on one connection it passes while nothing else happens, on more it
    // takes that much from the cores.
    const double shared = static_cast<double>(std::min<std::size_t>(cores(), connections));
    pair.ratio.push_back(own.wall / (server.wall - server.generator_cpu / shared));
  }

  const Options& options_;
  const std::string name_;
  InProcess own_;
  Fleet own_fleet_;
  Fleet server_fleet_;
  Service service_;
};

void start_and_idle(const Options& options) {
  std::vector<double> ready;
  double resident = 0;
  for (int i = 0; i < 9; ++i) {
    // The first one makes the database and the keys.
    Service service(options.program, options.directory, {{"data_dir", options.directory + "/idle"}});
    ready.push_back(service.ready_seconds() * 1e3);
    resident = std::max(resident, service.resident_mib());
  }
  fmt::print(
      "\nstart to ready, SQLite: first {:.0f} ms, then median {:.0f} ms, at most {:.0f} ms; idle resident at most "
      "{:.1f} MiB\n",
      ready.front(), median({ready.begin() + 1, ready.end()}), *std::max_element(ready.begin() + 1, ready.end()),
      resident);
  std::fflush(stdout);
}

void run(const Options& options) {
  start_and_idle(options);
  const std::string& dir = options.directory;
  // Each contract's token has a bucket of its own: a fleet on few contracts would meet the limit.
  const std::string limit = options.contracts < 32 ? "0" : "200";
  if (options.only != "postgres") {
    const auto flags = [&](const std::string& name) {
      return Flags{{"data_dir", dir + "/" + name}, {"rate_limit", limit}};
    };
    Bench bench(options, "SQLite", flags("server"), flags("own"));
    bench.closed_loops();
    bench.fleet();
  }
  if (options.only != "sqlite") {
    if (sql::PostgresServer::programs().empty()) throw std::runtime_error(sql::PostgresServer::kMissing);
    sql::PostgresServer postgres;
    const auto flags = [&](const std::string& name) {
      const std::string database = postgres.make_database();
      return Flags{
          {"data_dir", dir + "/" + name}, {"database", postgres.url(database).reveal()}, {"rate_limit", limit}};
    };
    Bench bench(options, "PostgreSQL", flags("server-pg"), flags("own-pg"));
    bench.closed_loops();
    bench.fleet();
  }
}

}  // namespace
}  // namespace tb::bench

int main(int argc, char** argv) {
  try {
    tb::bench::run(tb::bench::parse({argv, static_cast<std::size_t>(argc)}));
    return 0;
  } catch (const tb::Error& error) {
    fmt::print(stderr, "control_plane_load: {}\n", error.story());
  } catch (const std::exception& error) {
    fmt::print(stderr, "control_plane_load: {}\n", error.what());
  }
  return 1;
}
