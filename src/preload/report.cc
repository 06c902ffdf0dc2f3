// BENCHFS_REPORT: what was served, passed through and refused.
#include <cstdio>
#include <cstring>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/real.h"
#include "preload/settings.h"
#include "preload/together.h"

namespace benchfs::preload {

BENCHFS_TOGETHER bool Counter::is_reporting = false;

namespace {

std::atomic<Counter*> counters{nullptr};
int output = 2;

void list(Counter& counter) {
  if (counter.is_listed.exchange(true)) {
    return;
  }
  counter.next = counters.load();
  while (!counters.compare_exchange_weak(counter.next, &counter)) {
  }
}

void write_line(const char* text, int length) {
  if (length > 0) {
    (void)!real().write(output, text, static_cast<std::size_t>(length));
  }
}

}  // namespace

void Counter::count(std::atomic<std::uint32_t>& which) {
  if (is_reporting) [[unlikely]] {
    which.fetch_add(1, std::memory_order_relaxed);
    list(*this);
  }
}

int Counter::refuse(int error) {
  if (is_reporting) {
    list(*this);
    for (Refusal& refusal : refusals) {
      int none = 0;
      if (refusal.error == error || refusal.error.compare_exchange_strong(none, error)) {
        refusal.calls.fetch_add(1);
        break;
      }
    }
  }
  return fail_with(error);
}

void prepare_report() {
  if (Counter::is_reporting) {
    int copy = hide(real().dup(2));
    output = copy >= 0 ? copy : 2;
  }
}

void write_report() {
  static std::atomic<bool> is_written{false};
  if (!Counter::is_reporting || is_written.exchange(true)) {
    return;
  }
  char line[256];
  write_line(line,
             std::snprintf(line,
                           sizeof line,
                           "benchfs report of process %d, prefix %s\n%-24s %10s %10s\n",
                           static_cast<int>(real().getpid()),
                           settings().prefix,
                           "call",
                           "served",
                           "passed on"));
  for (Counter* counter = counters; counter != nullptr; counter = counter->next) {
    int length = std::snprintf(line,
                               sizeof line,
                               "%-24s %10u %10u",
                               counter->name,
                               counter->served_calls.load(),
                               counter->passed_calls.load());
    for (Counter::Refusal& refusal : counter->refusals) {
      if (refusal.error != 0) {
        length += std::snprintf(line + length,
                                sizeof line - static_cast<std::size_t>(length),
                                "  refused %u: %s",
                                refusal.calls.load(),
                                strerrorname_np(refusal.error));
      }
    }
    length += std::snprintf(line + length, sizeof line - static_cast<std::size_t>(length), "\n");
    write_line(line, length);
  }
}

}  // namespace benchfs::preload
