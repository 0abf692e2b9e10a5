// Where a runtime of somebody else's listens, by the kernel's tables and by real sockets.
#include "sentinel/runtime/reach.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "base/fs.h"

namespace tb::sentinel::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kHead =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

std::string line(const std::string& local, const std::string& state = "0A") {
  return "   0: " + local + " 00000000:0000 " + state +
         " 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n";
}

TEST(Reach, ReadsTheKernelsTables) {
  const std::string tcp = kHead + line("0100007F:1F91") + line("00000000:1F92") + line("0100007F:1F91", "01");
  const std::string tcp6 = kHead + line("00000000000000000000000001000000:1F91") +
                           line("00000000000000000000000000000000:1F92") +
                           line("0000000000000000FFFF00000100007F:1F93");
  EXPECT_THAT(listening_addresses(tcp, tcp6, 8081), ElementsAre("127.0.0.1", "::1"));
  EXPECT_THAT(listening_addresses(tcp, tcp6, 8082), ElementsAre("0.0.0.0", "::"));
  EXPECT_THAT(listening_addresses(tcp, tcp6, 8083), ElementsAre("::ffff:127.0.0.1"));
  EXPECT_THAT(listening_addresses(tcp, tcp6, 8084), IsEmpty());
}

TEST(Reach, PassesOverWhatHasAnotherShape) {
  for (const std::string bad : {"", "x", "0100007F", "0100007F:", "0100007F:XXXX", "0100007:1F91", "0100007G:1F91",
                                "010000000000000000000000000000000000:1F91"}) {
    EXPECT_THAT(listening_addresses(line(bad), line(bad), 8081), IsEmpty()) << bad;
  }
}

std::uint16_t listen_on(Fd& fd, std::uint32_t address) {
  fd = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_addr.s_addr = htonl(address);
  socklen_t bytes = sizeof local;
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&local), bytes), 0);
  EXPECT_EQ(listen(fd.get(), 4), 0);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &bytes);
  return ntohs(local.sin_port);
}

TEST(Reach, OfARealPort) {
  Fd fd;
  RuntimeAddress address{.host = "127.0.0.1", .port = listen_on(fd, INADDR_LOOPBACK)};
  EXPECT_EQ(examine_reach(address).health, obs::Health::kWarning) << "other users of this machine reach it";
  EXPECT_THAT(examine_reach(address).value, HasSubstr("127.0.0.1"));
  address.port = listen_on(fd, INADDR_ANY);
  EXPECT_EQ(examine_reach(address).health, obs::Health::kFault);
  EXPECT_THAT(examine_reach(address).value, HasSubstr("0.0.0.0"));
  fd.reset();
  EXPECT_EQ(examine_reach(address).health, obs::Health::kWarning);
  EXPECT_THAT(examine_reach(address).value, HasSubstr("nobody listens"));
}

TEST(Reach, OfAUnixSocketByItsModes) {
  std::string place = testing::TempDir() + "tb-reach-XXXXXX";
  ASSERT_NE(mkdtemp(place.data()), nullptr);
  const RuntimeAddress address{.unix_path = place + "/runtime.sock"};
  EXPECT_THAT(examine_reach(address).value, HasSubstr("no socket yet"));
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  std::strncpy(local.sun_path, address.unix_path.c_str(), sizeof local.sun_path - 1);
  ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&local), sizeof local), 0);
  chmod(address.unix_path.c_str(), 0777);
  chmod(place.c_str(), 0700);
  EXPECT_EQ(examine_reach(address).health, obs::Health::kOk);
  chmod(place.c_str(), 0755);
  EXPECT_EQ(examine_reach(address).health, obs::Health::kWarning);
  chmod(address.unix_path.c_str(), 0700);
  EXPECT_EQ(examine_reach(address).health, obs::Health::kOk);
  unlink(address.unix_path.c_str());
  ASSERT_TRUE(write_file_atomically(address.unix_path, "", 0600, false).has_value());
  EXPECT_EQ(examine_reach(address).health, obs::Health::kFault);
  std::filesystem::remove_all(place);
}

}  // namespace
}  // namespace tb::sentinel::runtime
