// SIGINT and SIGTERM as a flag that long work asks for, so that partial output is removed by ordinary unwinding. A
// second signal ends the process at once, should the work hang in a read.
#pragma once

#include <atomic>

namespace tb::cli {

/// Installs the handlers. SIGPIPE and SIGXFSZ are ignored: a closed pipe and a file limit are errors like any other.
void watch_interrupts();
/// True after an interrupt: tbenc's `cancel`.
const std::atomic<bool>& interrupt_flag();
/// Throws "cancelled" after an interrupt.
void throw_if_interrupted();

}  // namespace tb::cli
