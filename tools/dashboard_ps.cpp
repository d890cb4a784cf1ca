#include "tools/dashboard_ps.h"

#include <nlohmann/json.hpp>

#include "tools/dashboard_http.h"
#include "tools/format.h"

namespace tern {
namespace {

using nlohmann::ordered_json;

constexpr const char* kPage = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>ps_server</title>
<style>
:root { color-scheme: light dark; font: 15px system-ui, sans-serif; }
body { margin: 1.5rem; } table { border-collapse: collapse; } td, th { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #8884; }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2), td:nth-child(3), th:nth-child(3) { text-align: left; }
progress { width: 20rem; max-width: 100%; } #lost { color: #c33; } .wide { overflow-x: auto; }
</style></head><body>
<h1>ps_server</h1><p id="run"></p><p><progress id="bar" max="1" value="0"></progress> <span id="step"></span></p>
<div class="wide"><table><thead><tr><th>worker</th><th>address</th><th>state</th><th>step</th><th>lanes</th><th>images/s</th><th>MB/s in</th><th>MB/s out</th><th>heard</th></tr></thead><tbody id="rows"></tbody></table></div>
<p id="refused"></p><p id="lost"></p>
<script>
let before = null;
const text = (id, value) => { document.getElementById(id).textContent = value; };
async function show() {
  try {
    const s = await (await fetch('status.json')).json(), now = performance.now() / 1000;
    text('run', `mode ${s.mode}, incarnation ${s.run_epoch}, ${s.workers.length} workers` + (s.shards ? `, ${s.shards} shards` : ''));
    document.getElementById('bar').value = s.steps ? s.step / s.steps : 0;
    text('step', `step ${s.step} of ${s.steps}`);
    const rate = (w, key) => { const b = before && before.workers[w.id]; return b ? ((w[key] - b[key]) / (now - before.at) / 1e6).toFixed(2) : ''; };
    const rows = document.getElementById('rows');
    rows.replaceChildren(...s.workers.map(w => {
      const tr = document.createElement('tr');
      for (const v of [`${w.id} ${w.name}`, w.peer, w.state, w.step, w.lanes, w.images_per_s.toFixed(0), rate(w, 'bytes_in'), rate(w, 'bytes_out'), (w.heard_ms / 1000).toFixed(1) + ' s'])
        tr.appendChild(document.createElement('td')).textContent = v;
      return tr;
    }));
    const refused = Object.entries(s.refused).filter(([, n]) => n > 0).map(([k, n]) => `${k} ${n}`).join(', ');
    text('refused', refused ? 'refused: ' + refused : '');
    text('lost', '');
    before = { at: now, workers: Object.fromEntries(s.workers.map(w => [w.id, w])) };
  } catch { text('lost', 'the server does not answer'); }
  setTimeout(show, 1000);
}
show();
</script></body></html>
)";

double images_per_s(const PsStatus& status, const dist::WorkerStatus& worker) {
  return worker.lane_seconds > 0 ? status.micro_batch / worker.lane_seconds : 0;
}

/// A label's value: backslash, quote and line feed are escaped.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return out;
}

std::string status_json(const PsStatus& status) {
  ordered_json workers = ordered_json::array();
  for (const dist::WorkerStatus& w : status.workers)
    workers.push_back({{"id", w.id}, {"name", w.name}, {"peer", w.peer}, {"device", w.device_class}, {"state", w.state}, {"step", w.step}, {"lanes", w.lanes},
                       {"lanes_done", w.lanes_done}, {"images_per_s", images_per_s(status, w)}, {"bytes_in", w.bytes_in}, {"bytes_out", w.bytes_out}, {"heard_ms", w.heard}});
  ordered_json refused = ordered_json::object();
  for (size_t i = 1; i < status.counters.refused.size(); ++i) refused[std::string(dist::name_of(static_cast<dist::Refusal>(i)))] = status.counters.refused[i];
  refused["handshake"] = status.handshakes_failed;
  return ordered_json{{"mode", dist::name_of(status.mode)}, {"run_epoch", status.run_epoch}, {"step", status.step}, {"steps", status.steps},
                      {"workers", workers}, {"shards", status.shards.size()}, {"refused", refused}}.dump();
}

}  // namespace

std::string prometheus_text(const PsStatus& status) {
  std::string out;
  const auto family = [&](const std::string& name, const char* type, const char* help) {
    out += "# HELP tern_ps_" + name + " " + help + "\n# TYPE tern_ps_" + name + " " + type + "\n";
  };
  const auto sample = [&](const std::string& name, const std::string& labels, double value) {
    out += "tern_ps_" + name + (labels.empty() ? "" : "{" + labels + "}") + format(" %.17g\n", value);
  };
  const auto single = [&](const char* name, const char* type, const char* help, auto value) {
    family(name, type, help);
    sample(name, "", static_cast<double>(value));
  };
  const dist::ServerCounters& c = status.counters;
  single("run_epoch", "gauge", "Incarnation of the server on this run folder.", status.run_epoch);
  single("step", "gauge", "Steps taken, of the whole run.", status.step);
  single("steps", "gauge", "Steps that the run has in all.", status.steps);
  single("workers", "gauge", "Workers that are connected.", status.workers.size());
  single("shards", "gauge", "Shards that are connected.", status.shards.size());
  single("results_total", "counter", "Results accepted.", c.results);
  single("duplicates_total", "counter", "Results or frames that came twice.", c.duplicates);
  single("nacked_total", "counter", "Results that nobody wanted any more.", c.nacked);
  single("alarms_total", "counter", "Second results that differ from the first.", c.alarms);
  single("joined_total", "counter", "Workers that said HELLO.", c.joined);
  single("lost_total", "counter", "Workers whose connection broke.", c.lost);
  single("lapsed_total", "counter", "Leases that ran out.", c.lapsed);
  single("reassigned_total", "counter", "Slots given to another worker.", c.reassigned);
  single("speculated_total", "counter", "Slots given to a second worker.", c.speculated);
  single("dropped_total", "counter", "Lanes that went on without what they had held back (--wire topk).", c.dropped);
  single("gradient_bytes_total", "counter", "Payload of results.", c.gradient_bytes);
  single("parameter_bytes_total", "counter", "Payload of parameters.", c.parameter_bytes);
  family("bytes_total", "counter", "Bytes by direction and layer: frames, and what TCP carries of them with TLS.");
  sample("bytes_total", "direction=\"in\",layer=\"frames\"", static_cast<double>(status.frame_bytes_in));
  sample("bytes_total", "direction=\"out\",layer=\"frames\"", static_cast<double>(status.frame_bytes_out));
  sample("bytes_total", "direction=\"in\",layer=\"tcp\"", static_cast<double>(status.wire_bytes_in));
  sample("bytes_total", "direction=\"out\",layer=\"tcp\"", static_cast<double>(status.wire_bytes_out));
  family("refused_total", "counter", "Connections closed by the server, or by the worker, by reason.");
  for (size_t i = 1; i < c.refused.size(); ++i)
    sample("refused_total", "reason=\"" + std::string(dist::name_of(static_cast<dist::Refusal>(i))) + "\"", static_cast<double>(c.refused[i]));
  sample("refused_total", "reason=\"handshake\"", static_cast<double>(status.handshakes_failed));
  family("worker_lanes_done_total", "counter", "Lanes that a worker has computed.");
  for (const dist::WorkerStatus& w : status.workers) sample("worker_lanes_done_total", "worker=\"" + escaped(w.name) + "\"", static_cast<double>(w.lanes_done));
  family("worker_images_per_second", "gauge", "While it computes, lately.");
  for (const dist::WorkerStatus& w : status.workers) sample("worker_images_per_second", "worker=\"" + escaped(w.name) + "\"", images_per_s(status, w));
  family("worker_heard_seconds", "gauge", "Since its last frame.");
  for (const dist::WorkerStatus& w : status.workers) sample("worker_heard_seconds", "worker=\"" + escaped(w.name) + "\"", static_cast<double>(w.heard) / 1000);
  return out;
}

struct PsDashboard::Impl {
  PageServer server{2};
};

PsDashboard::PsDashboard(const dist::Address& address, std::function<std::optional<PsStatus>()> status) : impl_(std::make_unique<Impl>()) {
  httplib::Server& http = impl_->server.http();
  const auto serve = [&](const char* path, const char* type, auto make) {
    http.Get(path, [status, type, make](const httplib::Request&, httplib::Response& response) {
      if (const std::optional<PsStatus> now = status()) {
        response.set_content(make(*now), type);
      } else {
        response.status = 503;
        response.set_content("the server is starting\n", "text/plain");
      }
    });
  };
  serve("/metrics", "text/plain; version=0.0.4", [](const PsStatus& s) { return prometheus_text(s); });
  serve("/status.json", "application/json", [](const PsStatus& s) { return status_json(s); });
  http.Get("/", [](const httplib::Request&, httplib::Response& response) { response.set_content(kPage, "text/html; charset=utf-8"); });
  impl_->server.listen(address, "--metrics");
}

PsDashboard::~PsDashboard() = default;

uint16_t PsDashboard::port() const { return impl_->server.port(); }

}  // namespace tern
