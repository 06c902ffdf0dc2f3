// Restartable sequences, given up by threads that only drive a reactor.
#pragma once

namespace benchfs::rt {

// glibc registers each thread with rseq(2), and from then on the kernel writes to the thread's
// memory after every switch to it. That is 0.2 us of the 1.5 us which sched_yield() to another
// process takes (Linux 6.18, virtual machine), for a service that a daemon does not use: it is for
// allocators with a cache for each processor. sched_getcpu() works without it.
//
// For the calling thread. Does nothing where there is no registration, or no such glibc (2.35).
void leave_rseq();

}  // namespace benchfs::rt
