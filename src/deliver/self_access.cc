#include "deliver/self_access.h"

#include <sched.h>
#include <unistd.h>

#include <thread>

namespace tb::deliver {

void access_own_mount(const std::function<void()>& access) {
  std::thread([&] {
    if (unshare(CLONE_FILES) == 0) (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    access();
  }).join();
}

}  // namespace tb::deliver
