#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "dist/transport.h"
#include "tools/ps_engine.h"

namespace tern {

/// `ps_server --metrics`: Prometheus text at /metrics, JSON at /status.json, and a page with a table of the workers at /.
/// It only reads; nothing can be changed through it, and nothing secret is in it. No TLS: for loopback or a trusted net.
class PsDashboard {
 public:
  /// `status` is called on a thread of its own. Throws Error when the address cannot be listened on.
  PsDashboard(const dist::Address& address, std::function<std::optional<PsStatus>()> status);
  ~PsDashboard();
  uint16_t port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The text format of Prometheus. Ref: prometheus.io/docs/instrumenting/exposition_formats.
std::string prometheus_text(const PsStatus& status);

}  // namespace tern
