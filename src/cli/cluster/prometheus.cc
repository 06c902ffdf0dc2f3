#include "cli/cluster/prometheus.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>

namespace benchfs::cli {
namespace {

using nlohmann::json;

struct Metric {
  const char* name;
  const char* type;
  const char* help;
  const char* pointer;  // into the answer, or into one of its operations
};

constexpr Metric kServerMetrics[] = {
    {"uptime_seconds", "gauge", "Time since the shard started.", "/uptime_s"},
    {"cpu_seconds_total", "counter", "CPU time of the shard's thread.", "/cpu_s"},
    {"memory_bytes",
     "gauge",
     "Resident memory of the daemon, including all its shards.",
     "/memory_bytes"},
    {"clients", "gauge", "Registered clients.", "/registry/clients"},
    {"clients_capacity", "gauge", "Limit of registered clients.", "/registry/capacity"},
    {"clients_high_water", "gauge", "Most clients registered at once.", "/registry/high_water"},
    {"registry_hits_total", "counter", "Requests with a known session.", "/registry/hits"},
    {"registry_misses_total", "counter", "Requests with an unknown session.", "/registry/misses"},
    {"registry_evictions_total",
     "counter",
     "Clients evicted to make room for others.",
     "/registry/evictions"},
    {"registry_replaced_total",
     "counter",
     "Registrations of an id that was already registered.",
     "/registry/replaced"},
    {"registry_rejected_total", "counter", "Registrations refused.", "/registry/rejected"},
    {"connections_accepted_total", "counter", "Connections accepted.", "/admission/accepted"},
    {"connections_unregistered",
     "gauge",
     "Connections that have not registered yet.",
     "/admission/unregistered"},
    {"connections_turned_away_total",
     "counter",
     "Connections rejected because too many were unregistered.",
     "/admission/turned_away"},
    {"connections_silent_total",
     "counter",
     "Connections that never spoke the protocol.",
     "/admission/silent"},
    {"registrations_malformed_total",
     "counter",
     "Malformed registrations.",
     "/admission/malformed"},
    {"registrations_wrong_proof_total",
     "counter",
     "Registrations with a wrong proof of the cluster secret.",
     "/admission/wrong_proofs"},
    {"register_timeouts_total",
     "counter",
     "Connections that did not register in time.",
     "/admission/register_timeouts"},
    {"door_programs", "gauge", "Programs attached to the node door.", "/door/programs"},
    {"clients_by_network",
     "gauge",
     "Clients that came over the network, without servers.",
     "/registry/by_network"},
    {"door_attached_total",
     "counter",
     "Programs that came through the node door.",
     "/door/attached"},
    {"door_refused_total", "counter", "Attachments refused at the node door.", "/door/refused"},
    {"door_malformed_total", "counter", "Malformed messages at the node door.", "/door/malformed"},
    {"door_direct_reads_total",
     "counter",
     "Reads that programs of the node made without a request.",
     "/door/direct_reads"},
    {"door_direct_overwrites_total",
     "counter",
     "Overwrites that programs of the node made without a request.",
     "/door/direct_overwrites"},
    {"door_direct_read_bytes_total", "counter", "Bytes of those reads.", "/door/direct_bytes_out"},
    {"door_direct_overwritten_bytes_total",
     "counter",
     "Bytes of those overwrites.",
     "/door/direct_bytes_in"},
    {"clients_unresponsive_total",
     "counter",
     "Sessions ended because the client stopped responding.",
     "/rpc/unresponsive"},
    {"requests_in_flight", "gauge", "Requests being served.", "/rpc/in_flight"},
    {"requests_malformed_total", "counter", "Requests answered as malformed.", "/rpc/malformed"},
    {"requests_overloaded_total",
     "counter",
     "Requests refused because there were too many.",
     "/rpc/overloaded"},
    {"requests_repeated_total",
     "counter",
     "Requests that were resent after their connection was lost.",
     "/rpc/repeated"},
    {"messages_unattributed_total",
     "counter",
     "Messages dropped because they had no valid session.",
     "/rpc/unattributed"},
    {"replies_dropped_total",
     "counter",
     "Replies dropped because their client was gone.",
     "/rpc/replies_dropped"},
    {"inodes", "gauge", "Inodes.", "/metadata/inodes"},
    {"entries", "gauge", "Directory entries.", "/metadata/entries"},
    {"open_files", "gauge", "Open files, counted for each client.", "/metadata/open"},
    {"orphan_inodes", "gauge", "Inodes that have no name but are open.", "/metadata/orphans"},
    {"storage_size_bytes", "gauge", "Space of the chunk store's device.", "/storage/total_bytes"},
    {"storage_free_bytes",
     "gauge",
     "Free space on the chunk store's device.",
     "/storage/free_bytes"},
    {"leases_names", "gauge", "Leases of names that clients hold.", "/leases/names/held"},
    {"leases_names_recalled_total",
     "counter",
     "Leases of names that were called back.",
     "/leases/names/recalled"},
    {"leases_names_run_out_total",
     "counter",
     "Leases of names called back that ran out before their client answered.",
     "/leases/names/run_out"},
    {"leases_missing_names",
     "gauge",
     "Leases of missing names that clients hold.",
     "/leases/missing_names/held"},
    {"leases_missing_names_recalled_total",
     "counter",
     "Leases of missing names that were called back.",
     "/leases/missing_names/recalled"},
    {"leases_missing_names_run_out_total",
     "counter",
     "Leases of missing names called back that ran out before their client answered.",
     "/leases/missing_names/run_out"},
    {"leases_attributes",
     "gauge",
     "Leases of attributes that clients hold.",
     "/leases/attributes/held"},
    {"leases_attributes_recalled_total",
     "counter",
     "Leases of attributes that were called back.",
     "/leases/attributes/recalled"},
    {"leases_attributes_run_out_total",
     "counter",
     "Leases of attributes called back that ran out before their client answered.",
     "/leases/attributes/run_out"},
    {"leases_directories",
     "gauge",
     "Leases of directories that clients hold.",
     "/leases/directories/held"},
    {"leases_directories_recalled_total",
     "counter",
     "Leases of directories that were called back.",
     "/leases/directories/recalled"},
    {"leases_directories_run_out_total",
     "counter",
     "Leases of directories called back that ran out before their client answered.",
     "/leases/directories/run_out"},
    {"buffers", "gauge", "I/O buffers.", "/buffers/count"},
    {"buffers_free", "gauge", "I/O buffers that are free.", "/buffers/free"},
    {"buffers_waiting", "gauge", "Requests that wait for an I/O buffer.", "/buffers/waiting"},
    {"buffer_waits_total", "counter", "Waits for an I/O buffer.", "/buffers/waits"},
    {"buffer_timeouts_total",
     "counter",
     "Waits for an I/O buffer that ended at the deadline.",
     "/buffers/timeouts"},
    {"reactor_passes_total", "counter", "Passes of the event loop.", "/reactor/passes"},
    {"reactor_sleeps_total", "counter", "Sleeps of the event loop.", "/reactor/sleeps"},
    {"reactor_resumed_total", "counter", "Coroutines resumed.", "/reactor/resumed"},
    {"coroutine_frames", "gauge", "Coroutines that have not ended.", "/reactor/frames"},
};

constexpr Metric kOperationMetrics[] = {
    {"requests_total", "counter", "Requests.", "/requests"},
    {"request_errors_total",
     "counter",
     "Requests that the file system answered with an errno.",
     "/errors"},
    {"request_failures_total",
     "counter",
     "Requests that the RPC layer answered with an error.",
     "/failures"},
    {"request_received_bytes_total", "counter", "Data received with requests.", "/bytes_in"},
    {"request_sent_bytes_total", "counter", "Data sent with replies.", "/bytes_out"},
};

constexpr std::string_view kStageMetric = "request_stage_seconds";
constexpr std::string_view kStageHelp =
    "Time in each stage of the timed requests (a sample of fast operations).";
// Upper bounds of the buckets, as powers of two of nanoseconds: 256 ns to 17 s.
constexpr std::size_t kFirstBound = 8;
constexpr std::size_t kLastBound = 34;
constexpr std::size_t kBoundStep = 2;

void begin_metric(std::string& text,
                  std::string_view name,
                  std::string_view type,
                  std::string_view help) {
  text += fmt::format("# HELP benchfs_{} {}\n# TYPE benchfs_{} {}\n", name, help, name, type);
}

std::string label_value(std::string_view value) {
  std::string escaped;
  for (char c : value) {
    if (c == '\\' || c == '"') {
      escaped += '\\';
    }
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

std::string labels_of(const ServerStatus& status) {
  return fmt::format(
      R"(node="{}",shard="{}")", label_value(status.server.node_id), status.shard.value);
}

std::string labels_of(const ServerStatus& status, const json& operation) {
  return fmt::format(
      R"({},op="{}")", labels_of(status), label_value(operation.value("operation", "unknown")));
}

void sample(std::string& text, std::string_view name, std::string_view labels, double value) {
  // Counters are whole numbers, and stay so beyond a million.
  if (value == std::floor(value) && std::abs(value) < 9e15) {
    text += fmt::format("benchfs_{}{{{}}} {:.0f}\n", name, labels, value);
  } else {
    text += fmt::format("benchfs_{}{{{}}} {}\n", name, labels, value);
  }
}

json operations_of(const ServerStatus& status) {
  return status.is_alive() ? status.answer.value("operations", json::array()) : json::array();
}

void add_histogram(std::string& text, const std::string& labels, const json& stage) {
  const json octaves = stage.value("octaves", json::array());
  double below = 0;
  std::size_t next = 0;
  std::string name = fmt::format("{}_bucket", kStageMetric);
  for (std::size_t bound = kFirstBound; bound <= kLastBound; bound += kBoundStep) {
    for (; next <= bound && next < octaves.size(); ++next) {
      below += octaves[next].get<double>();
    }
    double seconds = std::ldexp(1.0, static_cast<int>(bound)) * 1e-9;
    sample(text, name, fmt::format(R"({},le="{:.9f}")", labels, seconds), below);
  }
  double count = number(stage, "/count");
  sample(text, name, fmt::format(R"({},le="+Inf")", labels), count);
  sample(text, fmt::format("{}_sum", kStageMetric), labels, number(stage, "/sum_ns") * 1e-9);
  sample(text, fmt::format("{}_count", kStageMetric), labels, count);
}

void add_stages(std::string& text, std::span<const ServerStatus> servers) {
  begin_metric(text, kStageMetric, "histogram", kStageHelp);
  for (const ServerStatus& status : servers) {
    for (const json& operation : operations_of(status)) {
      const json stages = operation.value("stages", json::object());
      for (const auto& [name, stage] : stages.items()) {
        add_histogram(
            text, fmt::format(R"({},stage="{}")", labels_of(status, operation), name), stage);
      }
    }
  }
}

}  // namespace

std::string prometheus_text(std::span<const ServerStatus> servers) {
  std::string text;
  begin_metric(text, "up", "gauge", "Whether the server answered.");
  for (const ServerStatus& status : servers) {
    sample(text, "up", labels_of(status), status.is_alive() ? 1 : 0);
  }
  for (const Metric& metric : kServerMetrics) {
    begin_metric(text, metric.name, metric.type, metric.help);
    for (const ServerStatus& status : servers) {
      if (status.is_alive()) {
        sample(text, metric.name, labels_of(status), number(status.answer, metric.pointer));
      }
    }
  }
  for (const Metric& metric : kOperationMetrics) {
    begin_metric(text, metric.name, metric.type, metric.help);
    for (const ServerStatus& status : servers) {
      for (const json& operation : operations_of(status)) {
        sample(text, metric.name, labels_of(status, operation), number(operation, metric.pointer));
      }
    }
  }
  add_stages(text, servers);
  return text;
}

}  // namespace benchfs::cli
