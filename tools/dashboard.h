#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "dist/transport.h"
#include "tools/progress.h"

namespace tern {

/// `trainer --dashboard`: report.html live. It reads what the training writes into its run folder, on threads of its own, and sends
/// new points by server-sent events; the training never waits for it. A client that does not take them is dropped.
///
/// It only reads. On an address that is not a loopback one every request needs the token in the URL, 128 random bits.
/// Ref: html.spec.whatwg.org, server-sent events.
class Dashboard {
 public:
  /// `folder`: of the run; it need not be there yet. Throws Error when the address cannot be listened on.
  Dashboard(const dist::Address& address, std::filesystem::path folder);
  /// Sends the end, with the whole report, to whoever takes it within two seconds.
  ~Dashboard();
  Dashboard(const Dashboard&) = delete;
  Dashboard& operator=(const Dashboard&) = delete;

  /// Where the page is, with the token where one is needed.
  std::string url() const;
  /// A progress that does what `inner` does, and tells the page of it. It must not outlive the dashboard.
  std::unique_ptr<Progress> watch(std::unique_ptr<Progress> inner);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Is this a name or address of the loopback interface?
bool is_loopback_host(const std::string& host);

}  // namespace tern
