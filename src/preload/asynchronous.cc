// The entries of asynchronous I/O. What concerns a file of ours is done when the call returns, and
// its outcome is where libc keeps it in the control block: libc's aio_error(), aio_return(),
// aio_suspend() and aio_cancel() find it there as that of any request that has ended.
#include <aio.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "preload/data.h"
#include "preload/entry.h"
#include "preload/real.h"

namespace benchfs::preload {
namespace {

struct Notice {
  void (*function)(sigval);
  sigval value;
};

void* run_notice(void* argument) {
  Notice notice = *static_cast<Notice*>(argument);
  std::free(argument);
  notice.function(notice.value);
  return nullptr;
}

void start_thread(const sigevent& event) {
  auto* notice = static_cast<Notice*>(std::malloc(sizeof(Notice)));
  if (notice == nullptr) {
    return;
  }
  *notice = {event.sigev_notify_function, event.sigev_value};
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  const pthread_attr_t* wanted = event.sigev_notify_attributes;
  pthread_t thread{};
  if (pthread_create(&thread, wanted != nullptr ? wanted : &detached, run_notice, notice) != 0) {
    std::free(notice);
  }
  pthread_attr_destroy(&detached);
}

// Tells the program that a request has ended, as it wishes.
void notify(const sigevent& event) {
  if (event.sigev_notify == SIGEV_THREAD) {
    start_thread(event);
  } else if (event.sigev_notify == SIGEV_SIGNAL) {
    siginfo_t info{};
    info.si_signo = event.sigev_signo;
    info.si_code = SI_ASYNCIO;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value = event.sigev_value;
    real().syscall(SYS_rt_sigqueueinfo, info.si_pid, info.si_signo, &info);
  }
}

void end(aiocb& request, ssize_t result) {
  request.__return_value = result < 0 ? -1 : result;
  __atomic_store_n(
      &request.__error_code, result < 0 ? static_cast<int>(-result) : 0, __ATOMIC_RELEASE);
}

bool has_wrong_priority(const aiocb& request) {
  return request.aio_reqprio < 0 || request.aio_reqprio > sysconf(_SC_AIO_PRIO_DELTA_MAX);
}

// LIO_READ or LIO_WRITE of a file of ours.
void transfer(Description& description, aiocb& request, int operation) {
  void* buffer = const_cast<void*>(request.aio_buf);
  Errno keep;
  ssize_t bytes = has_wrong_priority(request) ? -EINVAL
                  : operation == LIO_READ
                      ? read_at(description, buffer, request.aio_nbytes, request.aio_offset)
                      : write_at(description, buffer, request.aio_nbytes, request.aio_offset);
  end(request, bytes);
  keep.finish(0);
}

int submit(Counter& counter, aiocb* request, int operation) {
  OpenRef open(request->aio_fildes);
  if (!open) {
    return operation == LIO_READ ? real().aio_read(request) : real().aio_write(request);
  }
  transfer(*open, *request, operation);
  if (has_wrong_priority(*request)) {
    return counter.refuse(EINVAL);
  }
  counter.served();
  notify(request->aio_sigevent);
  return 0;
}

int sync(Counter& counter, int operation, aiocb* request) {
  OpenRef open(request->aio_fildes);
  if (!open) {
    return real().aio_fsync(operation, request);
  }
  if (operation != O_SYNC && operation != O_DSYNC) {
    return counter.refuse(EINVAL);
  }
  counter.served();
  Errno keep;
  end(*request, sync_file(*open));
  notify(request->aio_sigevent);
  return keep.finish(0);
}

// Ours first; what is left is libc's, which also tells the program when all have ended.
int submit_list(Counter& counter, int mode, aiocb* const list[], int count, sigevent* event) {
  bool any = false;
  for (int i = 0; i < count; ++i) {
    any = any || (list[i] != nullptr && is_ours(list[i]->aio_fildes));
  }
  if (!any || (mode != LIO_WAIT && mode != LIO_NOWAIT)) {
    return real().lio_listio(mode, list, count, event);
  }
  counter.served();
  auto** others =
      static_cast<aiocb**>(std::calloc(static_cast<std::size_t>(count), sizeof(aiocb*)));
  if (others == nullptr) {
    return fail_with(EAGAIN);
  }
  int other_count = 0;
  bool has_failed = false;
  for (int i = 0; i < count; ++i) {
    if (list[i] == nullptr || list[i]->aio_lio_opcode == LIO_NOP) {
      continue;
    }
    OpenRef open(list[i]->aio_fildes);
    if (!open) {
      others[other_count++] = list[i];
    } else {
      transfer(*open, *list[i], list[i]->aio_lio_opcode);
      has_failed = has_failed || list[i]->__error_code != 0;
      notify(list[i]->aio_sigevent);
    }
  }
  int result = 0;
  if (other_count > 0) {
    result = real().lio_listio(mode, others, other_count, event);
  } else if (mode == LIO_NOWAIT && event != nullptr) {
    notify(*event);
  }
  std::free(others);
  return result == 0 && mode == LIO_WAIT && has_failed ? fail_with(EIO) : result;
}

}  // namespace

#define AIO_ENTRIES(reader, writer, syncer, lister)                               \
  ENTRY(int, reader, aiocb* request) {                                            \
    COUNTER(reader);                                                              \
    return submit(counter, request, LIO_READ);                                    \
  }                                                                               \
  ENTRY(int, writer, aiocb* request) {                                            \
    COUNTER(writer);                                                              \
    return submit(counter, request, LIO_WRITE);                                   \
  }                                                                               \
  ENTRY(int, syncer, int operation, aiocb* request) {                             \
    COUNTER(syncer);                                                              \
    return sync(counter, operation, request);                                     \
  }                                                                               \
  ENTRY(int, lister, int mode, aiocb* const list[], int count, sigevent* event) { \
    COUNTER(lister);                                                              \
    return submit_list(counter, mode, list, count, event);                        \
  }
AIO_ENTRIES(aio_read, aio_write, aio_fsync, lio_listio)
AIO_ENTRIES(aio_read64, aio_write64, aio_fsync64, lio_listio64)

}  // namespace benchfs::preload
