// Access of a process to a mount that it serves itself.
#pragma once

#include <functional>

namespace tb::deliver {

/// Runs `access` on a thread that has none of this process's descriptors but the first three, and waits for it. For
/// whatever asks our own mount something: the kernel lets nobody out of a question that has been taken up, and the
/// device stays open as long as a thread has it. A process that was killed in between would wait for its own answer,
/// and could not be ended by anybody; so the device goes with the other threads, and the kernel answers. It opens
/// nothing: the same number would be another file to the rest of the process.
void access_own_mount(const std::function<void()>& access);

}  // namespace tb::deliver
