#include <algorithm>

#include "bench/report.h"
#include "bench/report_page.h"

namespace benchfs::bench {
namespace {

using nlohmann::ordered_json;

// A distribution as the page draws it: the latency at each of these percentiles.
constexpr double kPercents[] = {0,  1,  2,    5,    10,   15,   20,   25,    30,    35, 40, 45,
                                50, 55, 60,   65,   70,   75,   80,   85,    90,    93, 95, 97,
                                98, 99, 99.3, 99.5, 99.7, 99.8, 99.9, 99.95, 99.99, 100};

ordered_json distribution_json(const PhaseResult& result) {
  Histogram latency = result.total().latency;
  ordered_json points = ordered_json::array();
  for (double percent : kPercents) {
    points.push_back({percent, percent == 0 ? latency.min() : latency.percentile(percent)});
  }
  return points;
}

// Escapes text so that it cannot end the <script> element around it.
std::string escaped(std::string text) {
  for (std::size_t at = 0; (at = text.find('<', at)) != std::string::npos; at += 6) {
    text.replace(at, 1, "\\u003c");
  }
  return text;
}

}  // namespace

std::string to_html(const Report& report) {
  ordered_json json = to_json(report);
  json["summary"] = summary(report);
  for (std::size_t i = 0; i < report.results.size(); ++i) {
    json["results"][i]["distribution"] = distribution_json(report.results[i]);
  }
  std::string page(kReportPage);
  constexpr std::string_view kPlace = "@REPORT@";
  page.replace(page.find(kPlace), kPlace.size(), escaped(json.dump()));
  return page;
}

}  // namespace benchfs::bench
