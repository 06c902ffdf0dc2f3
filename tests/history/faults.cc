#include "history/faults.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <csignal>
#include <ctime>
#include <sstream>

#include "system/process.h"

namespace benchfs::history {
namespace {

constexpr Nanos kCommandPatience = std::chrono::seconds(20);

std::int64_t now() {
  return mono_now().time_since_epoch().count();
}

void pause_for(Nanos span) {
  timespec time{.tv_sec = span.count() / 1'000'000'000, .tv_nsec = span.count() % 1'000'000'000};
  ::nanosleep(&time, nullptr);  // lint: allow sleep the length of a fault
}

}  // namespace

std::vector<Fault> Faults::run(Deadline end) {
  faults_.clear();
  while (!end.passed()) {
    pause_for(std::chrono::milliseconds(30 + random_.below(250)));
    if (!kinds_.empty() && !end.passed()) {
      one_fault();
    }
  }
  return std::move(faults_);
}

Fault& Faults::begin(std::string text) {
  return faults_.emplace_back(Fault{.begin = now(), .end = now(), .text = std::move(text)});
}

Nanos Faults::pick_span() {
  std::uint64_t dice = random_.below(100);
  std::uint64_t longest = dice < 70 ? 300 : dice < 95 ? 900 : 2500;
  return std::chrono::milliseconds(20 + random_.below(longest));
}

void Faults::stop(pid_t process, const std::string& name, Nanos span) {
  Fault& fault = begin(fmt::format("{} stands still", name));
  ::kill(process, SIGSTOP);
  pause_for(span);
  ::kill(process, SIGCONT);
  fault.end = now();
}

void Faults::one_fault() {
  FaultKind kind = kinds_[random_.below(kinds_.size())];
  std::size_t client = random_.below(targets_.clients);
  std::size_t daemon = random_.below(targets_.daemons);
  switch (kind) {
    case FaultKind::kClientStops:
      stop(targets_.client(client), fmt::format("client process {}", client), pick_span());
      return;
    case FaultKind::kDaemonStops:
      stop(targets_.daemon(daemon), fmt::format("node_{}", daemon), pick_span());
      return;
    case FaultKind::kClientDies:
      begin(fmt::format("client process {} is killed", client));
      ::kill(targets_.client(client), SIGKILL);
      targets_.replace_client(client);
      return;
    case FaultKind::kDaemonDies: {
      begin(fmt::format("node_{} is killed and started again", daemon));
      pid_t killed = targets_.daemon(daemon);
      ::kill(killed, SIGKILL);
      siginfo_t ended{};
      ::waitid(P_PID, static_cast<id_t>(killed), &ended, WEXITED | WNOWAIT);
      targets_.replace_daemon(daemon);
      faults_.back().end = now();
      return;
    }
    case FaultKind::kConnectionCut: {
      auto connections = connections_of(targets_.daemon(daemon));
      if (!connections.empty()) {
        begin(fmt::format("a connection of node_{} is cut", daemon));
        cut({connections[random_.below(connections.size())]});
      }
      return;
    }
    case FaultKind::kClientCutOff:
      cut_off(client);
      return;
  }
}

void Faults::cut_off(std::size_t client) {
  Fault& fault = begin(fmt::format("client process {} stands still and is cut off", client));
  pid_t process = targets_.client(client);
  ::kill(process, SIGSTOP);
  cut(connections_of(process));
  pause_for(pick_span());
  ::kill(process, SIGCONT);
  fault.end = now();
}

std::vector<std::pair<std::string, std::string>> Faults::connections_of(pid_t process) {
  test::Ended listed = test::Process({"/usr/bin/ss", "-tnpH", "state", "established"}, directory_)
                           .wait(Deadline::after(kCommandPatience));
  std::vector<std::pair<std::string, std::string>> connections;
  std::istringstream lines(listed.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(fmt::format("pid={},", process)) == std::string::npos) {
      continue;
    }
    std::istringstream words(line);
    std::string received;
    std::string sent;
    std::string local;
    std::string peer;
    words >> received >> sent >> local >> peer;
    connections.emplace_back(local.substr(local.rfind(':')), peer.substr(peer.rfind(':')));
  }
  return connections;
}

void Faults::cut(const std::vector<std::pair<std::string, std::string>>& connections) {
  std::string filter;
  for (const auto& [local, peer] : connections) {
    filter +=
        fmt::format("{}( sport = {} and dport = {} )", filter.empty() ? "" : " or ", local, peer);
  }
  if (!filter.empty()) {
    test::Process({"/usr/bin/ss", "-K", filter}, directory_)
        .wait(Deadline::after(kCommandPatience));
  }
}

}  // namespace benchfs::history
