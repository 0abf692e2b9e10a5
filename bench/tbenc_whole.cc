// Whole encrypt and decrypt of a file over the library alone, for scripts/bench.sh: what the format library costs
// without the command around it.
//
//   tbenc_whole encrypt IN OUT | decrypt IN OUT | verify IN     OUT "-" is standard output; the key is a fixed one
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "base/fs.h"
#include "tbenc/parallel.h"

namespace {

using namespace tb;
using namespace tb::tbenc;

FileKey bench_key() {
  std::array<std::uint8_t, 32> bytes{};
  bytes.fill(0x42);
  return FileKey(std::span<const std::uint8_t, 32>(bytes));
}

Fd open_output(const std::string& path) {
  if (path == "-") return Fd(::dup(STDOUT_FILENO));
  return value_or_throw(open_file(path, O_WRONLY | O_CREAT, 0600));
}

void work(const std::string& verb, const std::string& in, const std::string& out) {
  const FileKey key = bench_key();
  const FileSource source = value_or_throw(FileSource::open(in));
  if (verb == "verify") {
    value_or_throw(verify(key, source));
    return;
  }
  const Fd fd = open_output(out);
  FdSink sink(fd.get(), out);
  if (verb == "encrypt") {
    const Header header = value_or_throw(new_header());
    value_or_throw(encrypt(key, header, source, sink));
  } else {
    value_or_throw(decrypt(key, source, sink));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  try {
    const auto start = std::chrono::steady_clock::now();
    work(argv[1], argv[2], argc > 3 ? argv[3] : "-");
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    fmt::print(stderr, "{} {:.3f} s, {} KiB resident, {:.2f} s cpu\n", argv[1], took.count(), usage.ru_maxrss,
               double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.story());
    return 1;
  }
}
