// Sentences that say what the numbers of an RPC report mean. They are computed from the numbers.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "bench/baseline_messages.h"
#include "bench/report.h"

namespace benchfs::bench {
namespace {

constexpr std::size_t kExamples = 3;

using Case = std::tuple<std::string, std::uint64_t, std::uint32_t, std::uint32_t>;

// The results of one case by path.
using Paths = std::map<std::string, const PhaseResult*, std::less<>>;

// One case measured over two paths.
struct Pair {
  const PhaseResult* one;
  const PhaseResult* other;
  [[nodiscard]] double latency_ratio() const {
    double denominator = other->percentile_ns(50).median;
    return denominator > 0 ? one->percentile_ns(50).median / denominator : 0.0;
  }
  [[nodiscard]] double rate_ratio() const {
    double denominator = other->ops_per_s().median;
    return denominator > 0 ? one->ops_per_s().median / denominator : 0.0;
  }
  [[nodiscard]] bool differs() const {
    return one->percentile_ns(50).is_apart_from(other->percentile_ns(50));
  }
};

std::map<Case, Paths> by_case(const Report& report) {
  std::map<Case, Paths> cases;
  for (const PhaseResult& result : report.results) {
    const Phase& phase = result.phase;
    cases[{phase.name, phase.payload_bytes, phase.depth, result.clients}][phase.path] = &result;
  }
  return cases;
}

std::vector<Pair> pairs_of(const Report& report, ReplyPath one, ReplyPath other) {
  std::vector<Pair> pairs;
  for (const auto& [key, paths] : by_case(report)) {
    auto first = paths.find(name_of(one));
    auto second = paths.find(name_of(other));
    if (first != paths.end() && second != paths.end()) {
      pairs.push_back({first->second, second->second});
    }
  }
  return pairs;
}

std::string case_text(const PhaseResult& result) {
  return fmt::format("{} {}, depth {}, {} {}",
                     result.phase.name,
                     size_text(result.phase.payload_bytes),
                     result.phase.depth,
                     result.clients,
                     result.clients == 1 ? "client" : "clients");
}

std::string times_text(const Pair& pair) {
  return fmt::format("{} ({} against {})",
                     case_text(*pair.one),
                     time_text(pair.one->percentile_ns(50).median),
                     time_text(pair.other->percentile_ns(50).median));
}

std::string factors_text(const std::vector<Pair>& pairs, double (Pair::*ratio)() const) {
  auto [low, high] = std::ranges::minmax(pairs, {}, ratio);
  double from = (low.*ratio)();
  double to = (high.*ratio)();
  return fmt::format("{:.2f}", from) == fmt::format("{:.2f}", to)
             ? fmt::format("{:.2f} times", from)
             : fmt::format("{:.2f} to {:.2f} times", from, to);
}

std::string cases_text(std::size_t count) {
  return fmt::format("{} {}", count, count == 1 ? "case" : "cases");
}

// "slower in 3 cases, no measurable difference in 1 case"
std::string verdict_text(const std::vector<Pair>& pairs) {
  std::size_t slower = 0;
  std::size_t faster = 0;
  for (const Pair& pair : pairs) {
    slower += pair.differs() && pair.latency_ratio() > 1 ? 1 : 0;
    faster += pair.differs() && pair.latency_ratio() < 1 ? 1 : 0;
  }
  std::size_t equal = pairs.size() - slower - faster;
  if (equal == pairs.size()) {
    return "no measurable difference";
  }
  std::vector<std::string> parts;
  for (auto [verdict, count] : {std::pair("slower", slower),
                                std::pair("faster", faster),
                                std::pair("no measurable difference", equal)}) {
    if (count > 0) {
      parts.push_back(fmt::format("{} in {}", verdict, cases_text(count)));
    }
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

// "A takes 1.20 to 3.10 times the median latency of B: slower in 3 cases."
std::string compare(const std::string& name,
                    const std::string& with,
                    const std::vector<Pair>& pairs) {
  return fmt::format("{} takes {} the median latency of {}: {}.",
                     name,
                     factors_text(pairs, &Pair::latency_ratio),
                     with,
                     verdict_text(pairs));
}

// Names the cases in which another path beats ours.
void add_defeats(std::vector<std::string>& out, const Report& report, ReplyPath path) {
  std::vector<Pair> pairs = pairs_of(report, path, ReplyPath::kPersistent);
  std::erase_if(pairs,
                [](const Pair& pair) { return !pair.differs() || pair.latency_ratio() >= 1; });
  if (pairs.empty()) {
    return;
  }
  std::ranges::sort(pairs, {}, &Pair::latency_ratio);
  std::vector<std::string> examples;
  for (const Pair& pair : pairs) {
    if (examples.size() < kExamples) {
      examples.push_back(times_text(pair));
    }
  }
  std::string rest = pairs.size() > kExamples
                         ? fmt::format(" and {} more", pairs.size() - kExamples)
                         : std::string();
  out.push_back(fmt::format(
      "Faster than persistent: {} in {}{}.", name_of(path), fmt::join(examples, "; "), rest));
}

void add_comparison(std::vector<std::string>& out,
                    const Report& report,
                    ReplyPath one,
                    ReplyPath other,
                    const std::string& meaning) {
  std::vector<Pair> pairs = pairs_of(report, one, other);
  if (!pairs.empty()) {
    out.push_back(meaning + ": " +
                  compare(std::string(name_of(one)), std::string(name_of(other)), pairs));
  }
}

void add_rates(std::vector<std::string>& out, const Report& report) {
  std::vector<Pair> pairs = pairs_of(report, ReplyPath::kPersistent, ReplyPath::kFloor);
  std::erase_if(pairs, [](const Pair& pair) { return pair.one->phase.depth == 1; });
  if (!pairs.empty()) {
    out.push_back(fmt::format(
        "With several requests outstanding, persistent does {} the requests per second of "
        "ucx-floor.",
        factors_text(pairs, &Pair::rate_ratio)));
  }
}

void add_caveats(std::vector<std::string>& out, const Report& report) {
  std::size_t rounds = report.results.front().rounds.size();
  bool has_baseline = std::ranges::any_of(report.results, [](const PhaseResult& result) {
    return !is_ours(path_of(result.phase.path).value_or(ReplyPath::kPersistent));
  });
  if (has_baseline) {
    out.push_back(
        "reply-ep, new-endpoint and ucx-floor are bare UCX without sessions, deadlines or "
        "coroutines. Their distance from ucx-floor is the cost of the reply path; the distance of "
        "persistent is the cost of our whole layer.");
    out.push_back(rounds == 1
                      ? "Only one round was run: differences of a few per cent mean nothing."
                      : fmt::format("Values are medians of {} rounds in which the paths "
                                    "took turns.",
                                    rounds));
  }
  for (const PhaseResult& result : report.results) {
    if (result.phase.path == name_of(ReplyPath::kNewEndpoint)) {
      out.push_back(
          "new-endpoint runs few operations, because UCX 1.13 leaks part of each endpoint (over "
          "tcp "
          "two descriptors), so its p99.9 rests on few samples.");
      break;
    }
  }
}

// The cost of an idle client.
std::vector<std::string> idle_summary(const Report& report) {
  std::vector<std::string> out;
  auto number = [&](const char* key) -> std::optional<double> {
    auto found = report.system.find(key);
    return found != report.system.end() && found->is_number() ? std::optional(found->get<double>())
                                                              : std::nullopt;
  };
  if (auto ours = number("server_bytes_per_client")) {
    auto bare = number("ucx_bytes_per_client");
    out.push_back(fmt::format(
        "Server memory per client: {:.1f} KiB{}.",
        *ours / 1024,
        bare ? fmt::format(", of which UCX alone takes {:.1f} KiB", *bare / 1024) : ""));
  }
  if (auto cpu = number("server_idle_cpu")) {
    out.push_back(
        fmt::format("Server CPU while the clients were idle: {:.2f} % of a core.", *cpu * 100));
  }
  return out;
}

}  // namespace

std::vector<std::string> summary(const Report& report) {
  std::vector<std::string> out;
  if (report.benchmark == "connect") {
    return idle_summary(report);
  }
  if (report.benchmark != "rpc" || report.results.empty()) {
    return out;
  }
  for (const PhaseResult& result : report.results) {
    if (!result.verified) {
      out.push_back(
          fmt::format("Wrong data came back: {}, {}.", result.phase.path, case_text(result)));
    }
  }
  using enum ReplyPath;
  add_comparison(out, report, kPersistent, kFloor, "Cost of our layer");
  add_comparison(out, report, kNode, kPersistent, "The node door");
  add_comparison(out, report, kNode, kFloor, "The node door against the network");
  add_rates(out, report);
  add_comparison(out, report, kNewEndpoint, kPersistent, "An endpoint per request");
  add_comparison(out, report, kReplyEndpoint, kPersistent, "UCX's reply endpoint");
  add_comparison(out, report, kReplyEndpoint, kFloor, "Cost of UCX's reply endpoint itself");
  add_defeats(out, report, kReplyEndpoint);
  add_defeats(out, report, kNewEndpoint);
  add_caveats(out, report);
  return out;
}

}  // namespace benchfs::bench
