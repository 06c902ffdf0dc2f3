// What the numbers of an RPC report say, in sentences that are computed and nothing else.
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

// The results of one case, one a path.
using Paths = std::map<std::string, const PhaseResult*, std::less<>>;

// The same case over two paths.
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

// "A takes 1.2 to 3.1 times what B takes (median latency); longer in 3 of 4 cases, …"
std::string compare(const std::string& name, const std::string& with, std::vector<Pair> pairs) {
  std::size_t longer = 0;
  std::size_t shorter = 0;
  for (const Pair& pair : pairs) {
    longer += pair.differs() && pair.latency_ratio() > 1 ? 1 : 0;
    shorter += pair.differs() && pair.latency_ratio() < 1 ? 1 : 0;
  }
  return fmt::format(
      "{} takes {} the median latency of {}: longer in {}, shorter in {} of {} cases, in {} the "
      "rounds of both overlap.",
      name,
      factors_text(pairs, &Pair::latency_ratio),
      with,
      longer,
      shorter,
      pairs.size(),
      pairs.size() - longer - shorter);
}

// Where another way beats ours, by name.
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
    return result.phase.path != name_of(ReplyPath::kPersistent);
  });
  if (has_baseline) {
    out.push_back(
        "reply-ep, new-endpoint and ucx-floor are bare UCX, without sessions, deadlines or "
        "coroutines: their distance from ucx-floor is the price of the way of the reply, that of "
        "persistent the price of our whole layer.");
    out.push_back(rounds == 1 ? "One round only: differences of some per cent mean nothing."
                              : fmt::format("Values are medians of {} rounds in which the paths "
                                            "took turns.",
                                            rounds));
  }
  for (const PhaseResult& result : report.results) {
    if (result.phase.path == name_of(ReplyPath::kNewEndpoint)) {
      out.push_back(
          "new-endpoint is held to few operations, because UCX 1.13 does not give back all that an "
          "endpoint per request uses (over tcp two descriptors each): its p99.9 rests on few "
          "samples.");
      break;
    }
  }
}

// What a client costs that does nothing.
std::vector<std::string> idle_findings(const Report& report) {
  std::vector<std::string> out;
  auto number = [&](const char* key) -> std::optional<double> {
    auto found = report.system.find(key);
    return found != report.system.end() && found->is_number() ? std::optional(found->get<double>())
                                                              : std::nullopt;
  };
  if (auto ours = number("server_bytes_per_client")) {
    auto bare = number("ucx_bytes_per_client");
    out.push_back(fmt::format(
        "Memory of the server for each client: {:.1f} KiB{}.",
        *ours / 1024,
        bare ? fmt::format(", of which UCX alone takes {:.1f} KiB", *bare / 1024) : ""));
  }
  if (auto cpu = number("server_idle_cpu")) {
    out.push_back(
        fmt::format("Processor time of the server while they did nothing: {:.2f} % of a "
                    "core.",
                    *cpu * 100));
  }
  return out;
}

}  // namespace

std::vector<std::string> findings(const Report& report) {
  std::vector<std::string> out;
  if (report.benchmark == "connect") {
    return idle_findings(report);
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
  add_comparison(out, report, kPersistent, kFloor, "What our layer costs");
  add_rates(out, report);
  add_comparison(out, report, kNewEndpoint, kPersistent, "An endpoint per request");
  add_comparison(out, report, kReplyEndpoint, kPersistent, "UCX's reply endpoint");
  add_comparison(out, report, kReplyEndpoint, kFloor, "What UCX's reply endpoint itself costs");
  add_defeats(out, report, kReplyEndpoint);
  add_defeats(out, report, kNewEndpoint);
  add_caveats(out, report);
  return out;
}

}  // namespace benchfs::bench
