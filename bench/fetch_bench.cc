// What a byte of a download costs on this machine: http::Client and blob::HttpSource against curl and against a bare
// recv loop, from an nginx on loopback whose file lies in tmpfs. Both ends share the machine, so the processor time of
// our end alone (user and system) is given beside the rate, and ways are interleaved: trust ratios within one run.
//
//   fetch_bench DIRECTORY [--mib 1024] [--rounds 5] [--tls]
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include "base/fs.h"
#include "blob/http_source.h"
#include "blob/nginx.h"
#include "http/client.h"

namespace tb {
namespace {

constexpr std::size_t kRecordBytes = std::size_t{4} << 20;
constexpr std::uint64_t kRequestBytes = std::uint64_t{8} << 20;
constexpr unsigned kConnections = 4;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double processor_seconds(int who) {
  rusage used{};
  getrusage(who, &used);
  return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

struct World {
  std::string directory;
  std::uint64_t bytes;
  bool tls;
  blob::Nginx nginx;
  http::Client client;

  std::string url() const { return nginx.url("blob"); }
};

/// Quietly; throws unless it ends well.
void run(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  int status = -1;
  if (posix_spawnp(&child, argv[0], &quiet, nullptr, argv.data(), environ) == 0) waitpid(child, &status, 0);
  posix_spawn_file_actions_destroy(&quiet);
  if (status != 0) throw Error("internal", arguments[0] + " failed");
}

/// The floor: one connection, one request, recv of `piece_bytes` at a time into the same place or, as records lie, into
/// the next of 4 MiB. `flags`: MSG_WAITALL lets the socket's buffer fill meanwhile, instead of waking for every
/// segment.
void bare_recv(World& world, std::size_t piece_bytes, std::size_t place_bytes, int flags) {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(world.nginx.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw Error("internal", "connect");
  value_or_throw(write_full(fd.get(), as_bytes("GET /blob HTTP/1.0\r\n\r\n"), "request"));
  static Bytes records(kRecordBytes);
  std::uint64_t got = 0;
  for (std::size_t at = 0;;) {
    const ssize_t n = recv(fd.get(), records.data() + at, std::min(piece_bytes, place_bytes - at), flags);
    if (n <= 0) break;
    got += static_cast<std::uint64_t>(n);
    at = (at + static_cast<std::size_t>(n)) % place_bytes;
  }
  if (got < world.bytes) throw Error("internal", "the bare loop got less than the blob");
}

void curl(World& world) {
  std::vector<std::string> arguments{"curl", "-s", "--fail", "-o", "/dev/null", world.url()};
  if (world.tls) arguments.insert(arguments.end(), {"--cacert", world.directory + "/cert.pem"});
  run(std::move(arguments));
}

void client_drop(World& world) {
  http::ClientRequest request;
  request.url = SecretUrl(world.url());
  request.max_answer_bytes = world.bytes;
  std::uint64_t got = 0;
  world.client.fetch(request, {}, [&](ByteView piece) {
    got += piece.size();
    return true;
  });
  if (got != world.bytes) throw Error("internal", "the client got less than the blob");
}

/// As hydrate reads: ranges on `connections` threads, each piece copied to where its record is put together.
void source(World& world, unsigned connections) {
  blob::HttpSource source(world.client, std::make_shared<blob::UrlProvider>(SecretUrl(world.url())));
  static std::vector<Bytes> records(kConnections, Bytes(kRecordBytes));
  std::atomic<std::uint64_t> next = 0;
  const auto work = [&](Bytes& record) {
    for (std::uint64_t from; (from = next.fetch_add(kRequestBytes)) < world.bytes;) {
      std::size_t filled = 0;
      source.fetch(from, std::min(kRequestBytes, world.bytes - from), [&](ByteView piece) {
        while (!piece.empty()) {
          const std::size_t taken = std::min(piece.size(), record.size() - filled);
          std::memcpy(record.data() + filled, piece.data(), taken);
          filled = (filled + taken) % record.size();
          piece = piece.subspan(taken);
        }
      });
    }
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < connections; ++i) threads.emplace_back([&, i] { work(records[i]); });
}

struct Way {
  const char* name;
  std::function<void(World&)> run;
  int who = RUSAGE_SELF;
  bool plain_only = false;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

int bench(const std::string& directory, std::uint64_t mib, int rounds, bool tls) {
  const std::string cert = directory + "/cert.pem", key = directory + "/key.pem";
  std::filesystem::create_directories(directory);
  blob::Nginx::Options options;
  if (tls) {
    run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert});
    options.cert_path = cert;
    options.key_path = key;
  }
  World world{directory, mib << 20, tls, blob::Nginx(directory, options),
              http::Client({.ca_path = options.cert_path, .use_proxy_environment = false})};
  {
    Fd file = value_or_throw(open_file(world.nginx.root() + "/blob", O_WRONLY | O_CREAT | O_TRUNC, 0644));
    Bytes piece(1U << 20);
    for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = static_cast<std::uint8_t>(i * 2654435761U >> 13);
    for (std::uint64_t i = 0; i < mib; ++i) value_or_throw(write_full(file.get(), piece, "blob"));
  }
  const std::vector<Way> ways{
      {"recv, 512 KiB, same place", [](World& w) { bare_recv(w, 512U << 10, 512U << 10, 0); }, RUSAGE_SELF, true},
      {"recv, 512 KiB, same place, WAITALL", [](World& w) { bare_recv(w, 512U << 10, 512U << 10, MSG_WAITALL); },
       RUSAGE_SELF, true},
      {"recv, 512 KiB, 4 MiB records", [](World& w) { bare_recv(w, 512U << 10, kRecordBytes, 0); }, RUSAGE_SELF, true},
      {"recv, 4 MiB records, WAITALL", [](World& w) { bare_recv(w, kRecordBytes, kRecordBytes, MSG_WAITALL); },
       RUSAGE_SELF, true},
      {"curl -o /dev/null", curl, RUSAGE_CHILDREN},
      {"Client::fetch, dropped", client_drop},
      {"HttpSource, 8 MiB ranges, 1 connection", [](World& w) { source(w, 1); }},
      {"HttpSource, 8 MiB ranges, 4 connections", [](World& w) { source(w, kConnections); }},
  };
  std::map<std::string, std::vector<double>> rates, costs;
  for (int round = -1; round < rounds; ++round) {
    for (const Way& way : ways) {
      if (tls && way.plain_only) continue;
      const double cpu = processor_seconds(way.who);
      const auto began = std::chrono::steady_clock::now();
      way.run(world);
      const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
      if (round < 0) continue;  // the first touch of everything
      rates[way.name].push_back(static_cast<double>(world.bytes) / took / 1e9);
      costs[way.name].push_back((processor_seconds(way.who) - cpu) * 1e9 / static_cast<double>(world.bytes) * 1000);
    }
  }
  fmt::print(
      "{} MiB, {} rounds, {}: GB/s median and best; processor picoseconds of the receiving end for a byte, median "
      "and best\n",
      mib, rounds, tls ? "TLS" : "plain http");
  for (const Way& way : ways) {
    if (!rates.contains(way.name)) continue;
    const auto& rate = rates[way.name];
    const auto& cost = costs[way.name];
    fmt::print("{:42} {:6.2f} {:6.2f} {:6.0f} {:6.0f}\n", way.name, median(rate), *std::ranges::max_element(rate),
               median(cost), *std::ranges::min_element(cost));
  }
  return 0;
}

}  // namespace
}  // namespace tb

int main(int argc, char** argv) {
  std::string directory;
  std::uint64_t mib = 1024;
  int rounds = 5;
  bool tls = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--mib" && i + 1 < argc)
      mib = std::strtoull(argv[++i], nullptr, 10);
    else if (argument == "--rounds" && i + 1 < argc)
      rounds = std::atoi(argv[++i]);
    else if (argument == "--tls")
      tls = true;
    else
      directory = argument;
  }
  if (directory.empty() || mib == 0 || rounds < 1) {
    std::fprintf(stderr, "usage: fetch_bench DIRECTORY [--mib 1024] [--rounds 5] [--tls]\n");
    return 2;
  }
  try {
    return tb::bench(directory, mib, rounds, tls);
  } catch (const tb::Error& error) {
    std::fprintf(stderr, "fetch_bench: %s\n", error.story().c_str());
    return 1;
  }
}
