#include "cli/files/session.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <system_error>

#include "cli/files/remote_path.h"

namespace benchfs::cli {

std::string reason_of(const Error& error) {
  if (error.code == Errc::kPosix) {
    return std::generic_category().message(error.to_errno());
  }
  // Our own messages are complete sentences.
  return error.code == Errc::kInvalidArgument ? error.context
                                              : error.message() + std::string(hint_for(error));
}

std::optional<Session> Session::open(const Context& context, std::string_view command) {
  // A job may start its servers and its clients at the same time; say why nothing happens.
  if (access((context.registry_dir + "/server_list.txt").c_str(), F_OK) != 0) {
    std::chrono::duration<double> wait = context.timeout(client::Options{}.list_timeout);
    report(command,
           "",
           fmt::format("there is no cluster in {} yet; waiting up to {:.3g} s for one (--timeout)",
                       context.registry_dir,
                       wait.count()));
  }
  Result<std::unique_ptr<client::Client>> client = context.connect();
  if (!client) {
    report(command, "", client.error());
    return std::nullopt;
  }
  return Session(std::string(command), std::move(*client));
}

std::optional<std::string> Session::remote_path(const std::string& argument) {
  Result<std::string> path = parse_remote(argument);
  if (!path) {
    fail(argument, path.error());
    return std::nullopt;
  }
  return std::move(*path);
}

void Session::fail(std::string_view subject, const Error& error) {
  fail(subject, reason_of(error));
}

void Session::fail(std::string_view subject, std::string_view reason) {
  exit_code_ = report(command_, subject, reason);
}

namespace {
std::atomic<bool> interrupted{false};
void on_interrupt(int) {
  interrupted = true;
}
}  // namespace

InterruptGuard::InterruptGuard() {
  interrupted = false;
  struct sigaction action{};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the second one has its usual effect
  sigaction(SIGINT, &action, &previous_);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &previous_, nullptr);
}

bool InterruptGuard::is_interrupted() {
  return interrupted;
}

unsigned process_umask() {
  mode_t mask = umask(0);
  umask(mask);
  return mask;
}

}  // namespace benchfs::cli
