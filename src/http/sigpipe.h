// sendfile(2), and OpenSSL below libcurl, raise SIGPIPE when the peer has gone: this turns it into plain EPIPE for the
// current thread and scope, without a word to the process's own signal disposition, which children would inherit.
#pragma once

#include <csignal>
#include <ctime>

namespace tb::http {

class SigpipeBlock {
 public:
  SigpipeBlock() {
    sigemptyset(&only_);
    sigaddset(&only_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &only_, &before_);
  }
  ~SigpipeBlock() {
    const timespec no_wait{};
    while (!was_pending_ && sigtimedwait(&only_, nullptr, &no_wait) == SIGPIPE) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlock(const SigpipeBlock&) = delete;
  SigpipeBlock& operator=(const SigpipeBlock&) = delete;

 private:
  sigset_t only_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

}  // namespace tb::http
