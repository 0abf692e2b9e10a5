#include "sentinel/runtime/reach.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <sstream>

#include "base/fs.h"

namespace tb::sentinel::runtime {
namespace {

constexpr std::size_t kMaxTableBytes = std::size_t{64} << 20;
constexpr std::string_view kListening = "0A";

std::optional<std::uint32_t> hex_word(std::string_view text) {
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

/// The kernel writes an address as the words that lie in its memory, each in hexadecimal.
std::optional<std::string> address_text(std::string_view hex) {
  if (hex.size() != 8 && hex.size() != 32) return std::nullopt;
  std::array<std::uint32_t, 4> words{};
  for (std::size_t i = 0; i < hex.size() / 8; ++i) {
    const auto word = hex_word(hex.substr(8 * i, 8));
    if (!word) return std::nullopt;
    words[i] = *word;
  }
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(hex.size() == 8 ? AF_INET : AF_INET6, words.data(), text, sizeof text) == nullptr
             ? std::nullopt
             : std::optional<std::string>(text);
}

void read_table(const std::string& table, std::uint16_t port, std::vector<std::string>& out) {
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string slot, local, remote, state;
    if (!(fields >> slot >> local >> remote >> state) || state != kListening) continue;
    const std::size_t colon = local.find(':');
    if (colon == std::string::npos) continue;
    const auto number = hex_word(std::string_view(local).substr(colon + 1));
    if (number != port) continue;
    if (auto text = address_text(std::string_view(local).substr(0, colon))) out.push_back(std::move(*text));
  }
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1" || address.starts_with("::ffff:127.");
}

obs::Finding examine_port(std::uint16_t port) {
  const auto addresses = listening_addresses(read_small_file("/proc/net/tcp", kMaxTableBytes).value_or(""),
                                             read_small_file("/proc/net/tcp6", kMaxTableBytes).value_or(""), port);
  if (addresses.empty()) {
    return {"reach", obs::Health::kWarning, fmt::format("nobody listens on port {} in this network namespace", port),
            "where it runs in another one, see there that nothing but the sentinel reaches it"};
  }
  const std::string value = fmt::format("port {} listens on {}", port, fmt::join(addresses, ", "));
  if (!std::ranges::all_of(addresses, is_loopback)) {
    return {"reach", obs::Health::kFault, value, "let the runtime listen on 127.0.0.1 or on a unix socket"};
  }
  return {"reach", obs::Health::kWarning, value,
          "every user of this machine reaches it: a unix socket is for the sentinel alone"};
}

obs::Finding examine_socket(const std::string& path) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return {"reach", obs::Health::kWarning, "there is no socket yet", ""};
  if (!S_ISSOCK(info.st_mode))
    return {"reach", obs::Health::kFault, "the socket's path leads to something else", "see who made it"};
  // To connect is to write to the socket, and to get there is to search every directory before it.
  bool open = (info.st_mode & S_IWOTH) != 0;
  for (std::size_t slash = path.rfind('/'); open && slash != std::string::npos && slash != 0;
       slash = path.rfind('/', slash - 1)) {
    open = stat(path.substr(0, slash).c_str(), &info) == 0 && (info.st_mode & S_IXOTH) != 0;
  }
  if (open) {
    return {"reach", obs::Health::kWarning, "a unix socket that every user of this machine may open",
            "put it into a directory of mode 0700 or 0750"};
  }
  return {"reach", obs::Health::kOk, "a unix socket that not everybody may open", ""};
}

}  // namespace

std::vector<std::string> listening_addresses(const std::string& tcp_table, const std::string& tcp6_table,
                                             std::uint16_t port) {
  std::vector<std::string> out;
  read_table(tcp_table, port, out);
  read_table(tcp6_table, port, out);
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

obs::Finding examine_reach(const RuntimeAddress& address) {
  return address.is_unix() ? examine_socket(address.unix_path) : examine_port(address.port);
}

}  // namespace tb::sentinel::runtime
