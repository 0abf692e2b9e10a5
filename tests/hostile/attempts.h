// What a hostile runtime tries. Every attempt is made in a process of its own, so that none can end or hang the others,
// and says what came of it: it got what it wanted, or which error stood in its way.
#pragma once

#include <cerrno>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace hostile {

/// 0: it succeeded; else an errno.
using Attempt = std::function<int()>;

struct Named {
  std::string name;
  Attempt attempt;
};

/// What the test told us of the world outside: ports and sockets that listen there, processes and files of others.
using World = std::map<std::string, std::string>;

std::vector<Named> network_attempts(const World& world);
std::vector<Named> file_attempts(const World& world);
std::vector<Named> kernel_attempts(const World& world);

/// errno where `result` says failure.
inline int outcome(long result) {
  return result < 0 ? errno : 0;
}

inline std::string told(const World& world, const std::string& name) {
  const auto it = world.find(name);
  return it == world.end() ? std::string() : it->second;
}

inline int number(const World& world, const std::string& name) {
  const std::string text = told(world, name);
  return text.empty() ? 0 : std::stoi(text);
}

}  // namespace hostile
