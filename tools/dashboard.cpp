#include "tools/dashboard.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "core/error.h"
#include "dist/messages.h"
#include "tools/dashboard_feed.h"
#include "tools/dashboard_http.h"
#include "tools/json_text.h"
#include "tools/report.h"
#include "tools/report_run.h"
#include "tools/run_folder.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using std::chrono::milliseconds;

constexpr int kMostPages = 6;       // that are fed at once
constexpr milliseconds kBeat{500};  // between two looks at the folder
constexpr milliseconds kFarewell{2000};

std::string random_token() {
  dist::Digest bytes{};
  if (::RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size())) != 1) throw Error("--dashboard: the system gives no random bytes");
  return dist::hex(bytes);
}

std::string event_text(const std::string& name, const ordered_json& data) { return "event: " + name + "\ndata: " + json_text(data) + "\n\n"; }

ordered_json progress_json(const ProgressState& s) {
  return {{"epoch", s.epoch}, {"epochs", s.epochs}, {"step", s.step}, {"steps", s.steps}, {"loss", s.loss}, {"accuracy", s.accuracy},
          {"images_per_s", s.images_per_s}, {"data_wait", s.data_wait}, {"eta", s.eta_seconds}};
}

}  // namespace

bool is_loopback_host(const std::string& host) { return host == "localhost" || host == "::1" || (host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos); }

struct Dashboard::Impl {
  fs::path folder;
  dist::Address address;
  std::string token;  // "" on loopback

  std::mutex mutex;
  std::condition_variable changed;
  std::optional<ProgressState> state;
  bool ended = false;
  int pages = 0;          // that are fed
  PageServer server{kMostPages + 4};  // last: its threads use the rest

  bool allowed(const httplib::Request& request) const;
  void serve_page(httplib::Response& response);
  void serve_events(httplib::Response& response);
  bool feed(RunFeed& feed, httplib::DataSink& sink);
  std::string farewell() const;
};

bool Dashboard::Impl::allowed(const httplib::Request& request) const {
  if (token.empty()) return true;
  const std::string got = request.get_param_value("token");
  return got.size() == token.size() && CRYPTO_memcmp(got.data(), token.data(), token.size()) == 0;
}

void Dashboard::Impl::serve_page(httplib::Response& response) {
  try {
    ordered_json run = run_json(folder);
    run["mistakes"] = nullptr;
    response.set_content(report_page({{"kind", "run"}, {"run", std::move(run)}, {"live", ordered_json::object()}}), "text/html; charset=utf-8");
  } catch (const std::exception&) {
    response.status = 503;  // the run folder comes when data and network are ready
    response.set_content("<!DOCTYPE html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"1\"><title>tern</title><p>The training is starting.</p>\n",
                         "text/html; charset=utf-8");
  }
}

/// The end: the whole run, as its report shows it.
std::string Dashboard::Impl::farewell() const {
  try {
    ordered_json run = run_json(folder);
    run["mistakes"] = run_mistakes_json(folder, nullptr);
    return event_text("end", {{"run", std::move(run)}});
  } catch (const std::exception& error) {
    return event_text("end", {{"error", error.what()}});
  }
}

/// One beat of a page's feed; false when it is over.
bool Dashboard::Impl::feed(RunFeed& feed, httplib::DataSink& sink) {
  std::string text;
  bool last = false;
  {
    std::unique_lock lock(mutex);
    if (state) text = event_text("progress", progress_json(*state));
    last = ended;
  }
  if (last) {
    text = farewell();
  } else if (const std::optional<ordered_json> news = feed.next()) {
    text += event_text("rows", *news);
  }
  if (text.empty()) text = ": still here\n\n";  // finds out who has gone
  if (!sink.write(text.data(), text.size())) return false;
  if (last) {
    sink.done();
    return true;
  }
  std::unique_lock lock(mutex);
  changed.wait_for(lock, kBeat, [this] { return ended; });
  return true;
}

void Dashboard::Impl::serve_events(httplib::Response& response) {
  {
    const std::scoped_lock lock(mutex);
    if (pages >= kMostPages) {
      response.status = 503;
      response.set_content("too many pages are open\n", "text/plain");
      return;
    }
    ++pages;
  }
  const auto rows = std::make_shared<RunFeed>(folder);
  response.set_chunked_content_provider(
      "text/event-stream", [this, rows](size_t, httplib::DataSink& sink) { return feed(*rows, sink); },
      [this](bool) {
        const std::scoped_lock lock(mutex);
        --pages;
        changed.notify_all();
      });
}

Dashboard::Dashboard(const dist::Address& address, fs::path folder) : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.folder = std::move(folder);
  impl.address = address;
  if (!is_loopback_host(address.host)) impl.token = random_token();
  const auto serve = [&](const char* path, auto answer) {
    impl.server.http().Get(path, [&impl, answer](const httplib::Request& request, httplib::Response& response) {
      response.set_header("Cache-Control", "no-store");
      response.set_header("Referrer-Policy", "no-referrer");
      if (impl.allowed(request)) return (impl.*answer)(response);
      response.status = 403;
      response.set_content("the URL has no token, or a wrong one; the trainer printed it when it began\n", "text/plain");
    });
  };
  serve("/", &Impl::serve_page);
  serve("/events", &Impl::serve_events);
  impl.server.listen(address, "--dashboard");
}

Dashboard::~Dashboard() {
  std::unique_lock lock(impl_->mutex);
  impl_->ended = true;
  impl_->changed.notify_all();
  impl_->changed.wait_for(lock, kFarewell, [this] { return impl_->pages == 0; });
}

std::string Dashboard::url() const {
  const std::string host = impl_->address.host.empty() ? "0.0.0.0" : impl_->address.host;
  return "http://" + dist::Address{host, impl_->server.port()}.str() + "/" + (impl_->token.empty() ? "" : "?token=" + impl_->token);
}

std::unique_ptr<Progress> Dashboard::watch(std::unique_ptr<Progress> inner) {
  class Watched final : public Progress {
   public:
    Watched(std::unique_ptr<Progress> inner, Impl& impl) : inner_(std::move(inner)), impl_(impl) {}
    void step(const ProgressState& state) override {
      inner_->step(state);
      const std::scoped_lock lock(impl_.mutex);
      impl_.state = state;
    }
    void message(const std::string& text) override { inner_->message(text); }
    void task(const std::string& name, int64_t done, int64_t total) override { inner_->task(name, done, total); }
    void finish() override { inner_->finish(); }

   private:
    std::unique_ptr<Progress> inner_;
    Impl& impl_;
  };
  return std::make_unique<Watched>(std::move(inner), *impl_);
}

}  // namespace tern
