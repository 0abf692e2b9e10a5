// What the confinement of a runtime costs: a connection that its init opens against one that is opened from here, and a
// start in namespaces against a start without. `confine_bench DIR`: where confined_init and hostile_runtime are (a
// build with tests).
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/error.h"
#include "sentinel/runtime/child.h"
#include "sentinel/runtime/connector.h"
#include "sentinel/runtime/kernel_facts.h"
#include "sentinel/runtime/probe.h"
#include "sentinel/runtime/socket_address.h"

namespace {

using namespace tb;
using namespace tb::sentinel::runtime;
using Clock = std::chrono::steady_clock;

double microseconds_since(Clock::time_point began) {
  return std::chrono::duration<double, std::micro>(Clock::now() - began).count();
}

void print(const char* what, std::vector<double> times) {
  std::ranges::sort(times);
  fmt::print("{:<44} median {:>8.1f} us   p99 {:>8.1f} us   of {}\n", what, times[times.size() / 2],
             times[times.size() * 99 / 100], times.size());
}

ChildSpec spec_of(const std::string& programs, const sentinel::RuntimeAddress& address, bool confined,
                  const std::vector<std::string>& more) {
  const uid_t uid = geteuid() == 0 ? 61003 : geteuid();
  ConfineRequest request{.arguments = {programs + "/hostile_runtime"},
                         .model_path = "/usr/share",
                         .address = address,
                         .uid = uid,
                         .own_user = uid != geteuid(),
                         .shared_user = true,
                         .read_paths = {programs},
                         .scratch_bytes = 1 << 24};
  request.arguments.insert(request.arguments.end(), more.begin(), more.end());
  ChildSpec spec{.arguments = request.arguments, .environment = {"PATH=/usr/bin:/bin"}};
  if (confined) {
    spec.confinement = std::make_shared<Confinement>(plan_confinement(request, find_kernel_facts(uid)));
    spec.init_program = programs + "/confined_init";
  }
  return spec;
}

Fd connect_directly(const sentinel::RuntimeAddress& address) {
  SocketAddress target;
  resolve(address, target);
  Fd fd(socket(target.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return connect(fd.get(), target.get(), target.bytes) == 0 ? std::move(fd) : Fd();
}

void connections(const std::string& programs, const sentinel::RuntimeAddress& address, const std::string& serve,
                 bool confined, const char* what) {
  Child child(spec_of(programs, address, confined, {"only=serve", serve}));
  const auto connector = std::make_shared<Connector>();
  connector->use(child.take_control());
  const Channel channel{.address = address, .connector = confined ? connector : nullptr};
  while (ask_health(channel, "/", 1000) != 200) usleep(10'000);
  std::vector<double> times;
  for (int i = 0; i < 2'000; ++i) {
    const auto began = Clock::now();
    const Fd fd = confined ? connector->connect_within(5'000) : connect_directly(address);
    pollfd wait{fd.get(), POLLOUT, 0};
    if (!fd || poll(&wait, 1, 5'000) != 1) throw Error("runtime_failed", "a connection failed");
    times.push_back(microseconds_since(began));
  }
  print(what, times);
}

void starts(const std::string& programs, bool confined, const char* what) {
  const ChildSpec spec = spec_of(programs, {.host = "127.0.0.1", .port = 1}, confined, {"only=serve"});
  std::vector<double> started, ended;
  for (int i = 0; i < 100; ++i) {
    auto began = Clock::now();
    Child child(spec);
    started.push_back(microseconds_since(began));
    began = Clock::now();
    child.end(0);
    ended.push_back(microseconds_since(began));
  }
  print(fmt::format("start, {}", what).c_str(), started);
  print(fmt::format("end by SIGKILL, {}", what).c_str(), ended);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return fmt::print(stderr, "confine_bench: error: where are the programs?\n"), 2;
  const std::string programs = argv[1];
  try {
    connections(programs, {.host = "127.0.0.1", .port = 18077}, "serve=18077", false, "connection from here, TCP");
    connections(programs, {.host = "127.0.0.1", .port = 18078}, "serve=18078", true, "connection by init, TCP");
    connections(programs, {.unix_path = "/tmp/tb-confine-bench.sock"}, "serve_unix=/tmp/tb-confine-bench.sock", false,
                "connection from here, unix socket");
    unlink("/tmp/tb-confine-bench.sock");
    connections(programs, {.unix_path = "/run/gate/runtime.sock"}, "serve_unix=/run/gate/runtime.sock", true,
                "connection by init, unix socket");
    starts(programs, false, "process group");
    starts(programs, true, "confined");
  } catch (const Error& error) {
    return fmt::print(stderr, "confine_bench: error: {}\n", error.story()), 1;
  }
  return 0;
}
