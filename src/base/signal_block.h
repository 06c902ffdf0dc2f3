// Blocks all signals of the calling thread while it lives, so that a thread started in that time,
// by us or by a library, never takes a signal that is meant for the application.
#pragma once

#include <pthread.h>

#include <csignal>

namespace benchfs {

class SignalBlock {
 public:
  SignalBlock() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;
  ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace benchfs
