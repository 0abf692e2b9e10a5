// The first process of a confined runtime: this program again, executed anew so that nothing of the sentinel's memory
// is in it. It makes the namespaces, forks once to be the first in the one of processes (as a child of the sentinel,
// not of itself), builds what the runtime may see, starts the runtime without rights, gives up its own, and then does
// three things: opens connections for the sentinel from in here, reaps, and takes all down with it when it ends.
//
// Descriptors: 1 and 2 the runtime's output, kControlFd a SOCK_SEQPACKET pair to the sentinel, kPlanFd the plan,
// kInputFd what becomes the runtime's descriptor 3 (its API key) or nothing.
#pragma once

namespace tb::sentinel::runtime {

inline constexpr const char* kInitVerb = "runtime-init";  ///< the argument by which a program knows that it is this
inline constexpr int kControlFd = 3, kPlanFd = 4, kInputFd = 5;

/// First byte of a message. From the sentinel:
inline constexpr char kGo = 'g', kConnect = 'c';
/// To it; kMoved is followed by the pid of the process that goes on, kFailed by text, kNoSocket by an errno; kSocket
/// carries a descriptor. kGo is waited for before and after a move.
inline constexpr char kMoved = 'p', kReady = 'r', kFailed = '!', kSocket = 's', kNoSocket = 'n';

/// A runtime that a signal ended makes the exit status 128 and that signal, as a shell would say it.
inline constexpr int kSignalBase = 128;

/// Ends with the runtime's own status, by _exit: there is nothing to be put away in here.
[[noreturn]] void confined_init();

}  // namespace tb::sentinel::runtime
