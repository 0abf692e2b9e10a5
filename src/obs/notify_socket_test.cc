#include "obs/notify_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::obs {
namespace {

/// A service manager that listens under `name` ("@…" is abstract).
Fd listen_as(const std::string& name) {
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name.starts_with('@')) address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  EXPECT_EQ(bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length), 0) << name;
  return socket;
}

std::string heard_by(const Fd& socket) {
  char text[100];
  const ssize_t got = recv(socket.get(), text, sizeof(text), MSG_DONTWAIT);
  return got < 0 ? "(nothing)" : std::string(text, static_cast<std::size_t>(got));
}

TEST(NotifySocket, IsToldByPathAndByAbstractName) {
  const std::string dir = testing::TempDir() + "tb-notify-" + random_token(6);
  std::filesystem::create_directories(dir);
  for (const std::string& name : {dir + "/socket", "@tb-notify-" + random_token(12)}) {
    const Fd socket = listen_as(name);
    const NotifySocket manager(name, "", "");
    EXPECT_TRUE(manager.listens());
    EXPECT_TRUE(manager.tell("READY=1")) << name;
    EXPECT_EQ(heard_by(socket), "READY=1") << name;
  }
  std::filesystem::remove_all(dir);
}

TEST(NotifySocket, WhereNoneListensNothingHappens) {
  EXPECT_FALSE(NotifySocket().listens());
  for (const std::string& name : {std::string(), std::string("relative"), std::string("/no/such/socket"),
                                  "/" + std::string(200, 'x'), std::string("@nobody-listens-here")}) {
    EXPECT_FALSE(NotifySocket(name, "", "").tell("READY=1")) << name;
  }
}

TEST(NotifySocket, AManagerThatDoesNotReadHoldsNothingUp) {
  const std::string name = "@tb-notify-" + random_token(12);
  const Fd socket = listen_as(name);
  const NotifySocket manager(name, "", "");
  int told = 0;
  while (told < 100'000 && manager.tell("WATCHDOG=1")) ++told;
  EXPECT_LT(told, 100'000) << "the queue of a socket is bounded";
  EXPECT_EQ(heard_by(socket), "WATCHDOG=1");
  EXPECT_TRUE(manager.tell("WATCHDOG=1")) << "there is room again";
}

// sd_watchdog_enabled(3)
TEST(NotifySocket, AWatchdogIsOnlyWhatIsMeantForThisProcess) {
  const std::string own = std::to_string(getpid());
  EXPECT_EQ(NotifySocket("/s", "30000000", "").watchdog_ms(), 30'000);
  EXPECT_EQ(NotifySocket("/s", "30000000", own).watchdog_ms(), 30'000);
  EXPECT_EQ(NotifySocket("/s", "500", own).watchdog_ms(), 1);
  EXPECT_EQ(NotifySocket("/s", "30000000", "1").watchdog_ms(), 0) << "of the process that started this one";
  EXPECT_EQ(NotifySocket("/s", "30000000", "nobody").watchdog_ms(), 0);
  EXPECT_EQ(NotifySocket("", "30000000", own).watchdog_ms(), 0) << "nobody could be told";
  for (const char* odd : {"", "0", "-5", "5s", " 5", "99999999999999999999"}) {
    EXPECT_EQ(NotifySocket("/s", odd, own).watchdog_ms(), 0) << odd;
  }
}

TEST(NotifySocket, AStatusIsOneBoundedLine) {
  EXPECT_EQ(status_line("hydrating: 41 %"), "STATUS=hydrating: 41 %");
  EXPECT_EQ(status_line("a\nREADY=1\tb"), "STATUS=a READY=1 b");
  EXPECT_EQ(status_line(std::string(1000, 'x')).size(), 207U);
}

TEST(NotifySocket, AReloadTellsWhenItBegan) {
  const std::string first = reloading_now(), second = reloading_now();
  ASSERT_TRUE(first.starts_with("RELOADING=1\nMONOTONIC_USEC=")) << first;
  EXPECT_LE(std::stoll(first.substr(27)), std::stoll(second.substr(27)));
}

}  // namespace
}  // namespace tb::obs
