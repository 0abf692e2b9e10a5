// Hydration end to end: from a manifest in hand to the last plaintext byte at its reader, against the same work done in
// series, and against what the parts cost alone in the same minutes. For scripts/bench.sh --hydrate.
//
//   hydrate_bench DIRECTORY TRUSTBRIDGE [--mib 2048] [--rounds 5] [--connections 4] [--request-kib 8192]
//                 [--disk DIRECTORY] [--only WAY [--limit-rate N]]
//
// --disk: a folder on a disk, for the time to the first byte. --only: just that way (or all that begin so), no parts.
// --limit-rate: bytes a second that nginx gives one connection (40m), to see what `--connections auto` makes of it.
//
// The limit of a way is what no program with these cores can beat that does each part once: for each of its phases the
// slowest part that is one stream, or the processor time of all parts, nginx's included, over the cores, whichever is
// more. Rounds run everything once, one after the other; ratios are taken within a round. Destinations are new, but
// their memory was used before: the host of a virtual machine hands out untouched memory slowly.
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>

#include <cstdlib>
#include <map>

#include "bench/hydrate_ways.h"

namespace tb::bench {
namespace {

using hydrate::CacheKind;

/// Parts that run at the same time. `stream`: it cannot be spread over cores.
struct Part {
  std::string stage;
  bool stream = false;
};
using Phase = std::vector<Part>;

struct Way {
  std::string name;
  std::vector<Phase> phases;
  std::function<Cost(const Ways&)> run;
};

std::vector<Way> all_ways() {
  const Part fetch{"fetch"}, open{"open"}, files{"write files", true}, pipe{"read pipe", true},
      mount{"read mount", true};
  const Part memory{"write cache, memory"}, disk{"write cache, disk", true};
  const Part from_memory{"read cache, memory"}, from_disk{"read cache, disk"};
  return {
      {"files, nothing kept", {{fetch, open, files}}, [](const Ways& w) { return w.files(CacheKind::kMemory); }},
      {"files, cache on disk", {{fetch, open, files, disk}}, [](const Ways& w) { return w.files(CacheKind::kDisk); }},
      {"fifo, cache in memory",
       {{fetch, open, memory}, {from_memory, open, pipe}},
       [](const Ways& w) { return w.fifo(CacheKind::kMemory); }},
      {"fifo, cache on disk",
       {{fetch, open, disk}, {from_disk, open, pipe}},
       [](const Ways& w) { return w.fifo(CacheKind::kDisk); }},
      {"mount, cache in memory",
       {{fetch, open, memory, mount}},
       [](const Ways& w) { return w.mount(CacheKind::kMemory, false); }},
      {"lazy mount, cache in memory",
       {{fetch, open, memory, mount}},
       [](const Ways& w) { return w.mount(CacheKind::kMemory, true); }},
  };
}

struct Settings {
  std::string directory, trustbridge, disk, only, server_lines;
  std::uint64_t mib = 2048;
  unsigned rounds = 5;
  WaySettings ways;
};

class Bench {
 public:
  explicit Bench(const Settings& settings)
      : settings_(settings),
        kernel_(deliver::probe_kernel()),
        asset_(settings.directory, settings.mib << 20, settings.server_lines),
        stages_(asset_, settings.directory),
        ways_(asset_, kernel_, settings.ways) {
    std::erase_if(all_, [&](const Way& way) { return !way.name.starts_with(settings_.only); });
  }

  void run() {
    for (unsigned i = 0; i < settings_.rounds; ++i) round();
    report();
  }

 private:
  double bytes() const { return static_cast<double>(settings_.mib << 20); }
  void note(const std::string& what, const Cost& cost) { seen_[what].push_back(cost); }

  /// Uses as much memory as is about to be written, and frees it: the host takes back what lies idle for seconds.
  void warm() const {
    WipedBuffer memory(2 * (settings_.mib << 20));
    for (std::size_t at = 0; at < memory.size(); at += 4096) memory.data()[at] = 1;
  }

  void round() {
    if (settings_.only.empty()) parts();
    for (const Way& way : all_) {
      warm();
      note(way.name, way.run(ways_));
    }
  }

  void parts() {
    note("fetch, 1 connection", stages_.fetch(1));
    note("fetch", stages_.fetch(settings_.ways.connections));
    note("open", stages_.open());
    warm();
    note("write files", stages_.write_files(kernel_));
    for (const auto& [name, kind] : {std::pair{"memory", CacheKind::kMemory}, std::pair{"disk", CacheKind::kDisk}}) {
      warm();
      const auto costs = stages_.cache(kind);
      note(std::string("write cache, ") + name, costs.write);
      note(std::string("read cache, ") + name, costs.read);
    }
    note("read pipe", stages_.read_pipe());
    warm();
    note("read mount", stages_.read_mount());
    warm();
    const auto series = ways_.series();
    note("series: download", series.download);
    note("series: sha256", series.hash);
    note("series: decrypt", series.decrypt);
    note("series", series.sum());
    for (int i = 0; i < 3; ++i) {
      first_["memory"].push_back(ways_.first_byte(CacheKind::kMemory, settings_.directory));
      first_["files in tmpfs"].push_back(ways_.first_byte(CacheKind::kDisk, settings_.directory));
      if (!settings_.disk.empty()) first_["disk"].push_back(ways_.first_byte(CacheKind::kDisk, settings_.disk));
    }
  }

  template <typename Of>
  double median_of(const Of& of) const {
    std::vector<double> values;
    for (std::size_t i = 0; i < settings_.rounds; ++i) values.push_back(of(i));
    return median(std::move(values));
  }
  double ps_a_byte(double seconds) const { return seconds * 1e12 / bytes(); }

  /// Processor time. Of downloads it is the cheaper of two: one connection finds more at each read.
  double work(const Phase& phase, std::size_t round) const {
    double sum = 0;
    for (const Part& part : phase) {
      double cpu = seen_.at(part.stage)[round].cpu();
      if (part.stage == "fetch") cpu = std::min(cpu, seen_.at("fetch, 1 connection")[round].cpu());
      sum += cpu;
    }
    return sum;
  }
  double limit(const Way& way, std::size_t round) const {
    double seconds = 0;
    for (const Phase& phase : way.phases) {
      double slowest = work(phase, round) / cores();
      for (const Part& part : phase) {
        if (part.stream) slowest = std::max(slowest, seen_.at(part.stage)[round].wall);
      }
      seconds += slowest;
    }
    return seconds;
  }

  void print_costs(const std::string& what) const {
    const auto& costs = seen_.at(what);
    fmt::print("{:28} {:7.2f} {:8.2f} {:10.0f} {:8.0f} {:8.2f}\n", what,
               median_of([&](std::size_t i) { return costs[i].wall; }),
               median_of([&](std::size_t i) { return bytes() / costs[i].wall / 1e9; }),
               median_of([&](std::size_t i) { return ps_a_byte(costs[i].own); }),
               median_of([&](std::size_t i) { return ps_a_byte(costs[i].server); }),
               median_of([&](std::size_t i) { return costs[i].cpu() / costs[i].wall; }));
  }

  void report() const {
    fmt::print(
        "{} MiB, chunks of 4 MiB, {} rounds, medians; {} cores, {} connections, requests of {} KiB, tmpfs huge={}\n",
        settings_.mib, settings_.rounds, cores(), settings_.ways.connections, settings_.ways.request_bytes >> 10,
        kernel_.tmpfs_huge.empty() ? "none" : kernel_.tmpfs_huge);
    fmt::print("\n{:28} {:>7} {:>8} {:>10} {:>8} {:>8}\n", "", "s", "GB/s", "ps/byte", "nginx", "cores");
    for (const auto& [what, costs] : seen_) {
      if (std::ranges::none_of(all_, [&](const Way& way) { return way.name == what; })) print_costs(what);
    }
    for (const Way& way : all_) print_costs(way.name);
    if (settings_.only.empty()) print_limits();
  }

  void print_limits() const {
    fmt::print("\n{:28} {:>12} {:>9} {:>11} {:>14}\n", "", "times series", "limit, s", "of limit, %", "of its work, %");
    for (const Way& way : all_) {
      const auto& costs = seen_.at(way.name);
      const auto of_work = [&](std::size_t i) {
        double sum = 0;
        for (const Phase& phase : way.phases) sum += work(phase, i);
        return 100 * sum / costs[i].cpu();
      };
      fmt::print("{:28} {:12.2f} {:9.2f} {:11.0f} {:14.0f}\n", way.name,
                 median_of([&](std::size_t i) { return seen_.at("series")[i].wall / costs[i].wall; }),
                 median_of([&](std::size_t i) { return limit(way, i); }),
                 median_of([&](std::size_t i) { return 100 * limit(way, i) / costs[i].wall; }), median_of(of_work));
    }
    fmt::print("\nfirst bytes through a lazy mount, ms:\n");
    for (const auto& [where, seconds] : first_) {
      fmt::print("  cache: {:20} median {:.0f}, most {:.0f}\n", where, 1e3 * median(seconds),
                 1e3 * *std::ranges::max_element(seconds));
    }
  }

  Settings settings_;
  deliver::Kernel kernel_;
  ServedAsset asset_;
  Stages stages_;
  Ways ways_;
  std::vector<Way> all_ = all_ways();
  std::map<std::string, std::vector<Cost>> seen_;
  std::map<std::string, std::vector<double>> first_;
};

std::optional<Settings> settings_from(int argc, char** argv) {
  if (argc < 3 || argc % 2 == 0) return std::nullopt;
  Settings settings;
  settings.ways.directory = settings.directory = argv[1];
  settings.ways.trustbridge = argv[2];
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i], value = argv[i + 1];
    const std::uint64_t number = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--disk")
      settings.disk = value;
    else if (flag == "--only")
      settings.only = value;
    else if (flag == "--limit-rate")
      settings.server_lines = fmt::format("limit_rate {};", value);
    else if (flag == "--connections" && value == "auto")
      settings.ways.connections = 0;
    else if (number == 0)
      return std::nullopt;
    else if (flag == "--mib")
      settings.mib = number;
    else if (flag == "--rounds")
      settings.rounds = static_cast<unsigned>(number);
    else if (flag == "--connections")
      settings.ways.connections = static_cast<unsigned>(number);
    else if (flag == "--request-kib")
      settings.ways.request_bytes = number << 10;
    else
      return std::nullopt;
  }
  // The parts and the series need a number.
  if (settings.ways.connections == 0 && settings.only.empty()) return std::nullopt;
  return settings;
}

}  // namespace
}  // namespace tb::bench

int main(int argc, char** argv) {
  const auto settings = tb::bench::settings_from(argc, argv);
  if (!settings) {
    fmt::print(stderr,
               "usage: hydrate_bench DIRECTORY TRUSTBRIDGE [--mib N] [--rounds N] [--connections N]\n"
               "                     [--request-kib N] [--disk DIRECTORY] [--only WAY] [--limit-rate N]\n");
    return 2;
  }
  try {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      throw tb::error_from_errno(errno, "mounts of our own are measured (CAP_SYS_ADMIN)");
    }
    tb::bench::Bench(*settings).run();
    return 0;
  } catch (const tb::Error& error) {
    fmt::print(stderr, "hydrate_bench: {}\n", error.story());
  } catch (const std::exception& error) {
    fmt::print(stderr, "hydrate_bench: {}\n", error.what());
  }
  return 1;
}
