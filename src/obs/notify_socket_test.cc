#include "controlplane/systemd_notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::controlplane {
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

TEST(SystemdNotify, IsToldByPathAndByAbstractName) {
  const std::string dir = testing::TempDir() + "tb-notify-" + random_token(6);
  std::filesystem::create_directories(dir);
  for (const std::string& name : {dir + "/socket", "@tb-notify-" + random_token(12)}) {
    const Fd manager = listen_as(name);
    EXPECT_TRUE(notify_systemd(name, "READY=1")) << name;
    EXPECT_EQ(heard_by(manager), "READY=1") << name;
  }
  std::filesystem::remove_all(dir);
}

TEST(SystemdNotify, WhereNoneListensNothingHappens) {
  for (const std::string& name : {std::string(), std::string("relative"), std::string("/no/such/socket"),
                                  "/" + std::string(200, 'x'), std::string("@nobody-listens-here")}) {
    EXPECT_FALSE(notify_systemd(name, "READY=1")) << name;
  }
}

}  // namespace
}  // namespace tb::controlplane
