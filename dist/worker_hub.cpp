#include "dist/worker_hub.h"

#include <algorithm>
#include <utility>

namespace tern::dist {

struct WorkerHub::Link {
  Link(LinkId number, ShardRange range, const WorkerOptions& options)
      : id(number), shard(std::move(range)), core(options) {}
  LinkId id;
  ShardRange shard;
  WorkerCore core;
  uint64_t greeted = 0;  // WELCOMEs that were answered
  bool sent = false;     // what is finished, on this connection
};

namespace {

WorkerOptions link_options(WorkerOptions options) {
  options.hello.role = Role::link;
  return options;
}

}  // namespace

WorkerHub::WorkerHub(WorkerOptions options) : options_(options), server_(std::move(options)) {}
WorkerHub::~WorkerHub() = default;

// ---- the network

WorkerHub::Link* WorkerHub::find(LinkId id) const {
  const auto found = std::ranges::find(links_, id, [](const auto& link) { return link->id; });
  return found == links_.end() ? nullptr : found->get();
}

void WorkerHub::connected(LinkId id, Millis now) {
  if (id == kServerLink) return server_.connected(now);
  if (Link* link = find(id)) {
    link->sent = false;
    link->core.connected(now);
  }
}

void WorkerHub::received(LinkId id, Bytes bytes, Millis now) {
  if (id == kServerLink)
    server_.received(bytes, now);
  else if (Link* link = find(id))
    link->core.received(bytes, now);
  go_on(now);
}

void WorkerHub::disconnected(LinkId id, Millis now) {
  if (id == kServerLink)
    server_.disconnected(now);
  else if (Link* link = find(id))
    link->core.disconnected(now);
  go_on(now);
}

void WorkerHub::tick(LinkId id, Millis now) {
  if (id == kServerLink)
    server_.tick(now);
  else if (Link* link = find(id))
    link->core.tick(now);
  go_on(now);
}

std::vector<ShardLink> WorkerHub::links() const {
  std::vector<ShardLink> all;
  for (const auto& link : links_) all.push_back({link->id, link->shard.address});
  return all;
}

std::vector<Outgoing> WorkerHub::take_frames(LinkId id) {
  if (id == kServerLink) return server_.take_frames();
  Link* link = find(id);
  return link ? link->core.take_frames() : std::vector<Outgoing>();
}

bool WorkerHub::take_close(LinkId id) {
  if (id == kServerLink) return server_.take_close();
  Link* link = find(id);
  return link && link->core.take_close();
}

bool WorkerHub::has_output(LinkId id) const {
  if (id == kServerLink) return server_.has_output();
  const Link* link = find(id);
  return link && link->core.has_output();
}

std::vector<std::string> WorkerHub::take_notes() {
  std::vector<std::string> notes = std::exchange(notes_, {});
  for (std::string& note : server_.take_notes()) notes.push_back(std::move(note));
  for (const auto& link : links_)
    for (const std::string& note : link->core.take_notes())
      notes.push_back("shard " + link->shard.address + ": " + note);
  return notes;
}

/// Whose result differs from another's must go, whoever finds out. What else a shard may say does not outlive its
/// layout.
std::optional<ErrorMessage> WorkerHub::refused() const {
  for (const auto& link : links_)
    if (link->core.refused() && link->core.refused()->code == Refusal::conflict) return link->core.refused();
  return server_.refused();
}

// ---- shards

void WorkerHub::go_on(Millis now) {
  follow_layout();
  for (const auto& link : links_) greet(*link, now);
  gather_parameters();
  settle(now);
}

/// New connections for each layout: nothing of one can be taken for another's.
void WorkerHub::follow_layout() {
  const Shards& layout = server_.layout();
  if (layout.layout == layout_) return;
  layout_ = layout.layout;
  links_.clear();
  for (const ShardRange& shard : layout.shards)
    links_.push_back(std::make_unique<Link>(++last_link_, shard, link_options(options_)));
}

/// A shard may not know of the layout yet, or know of the next one.
void WorkerHub::greet(Link& link, Millis now) {
  WorkerCore& core = link.core;
  if (!core.online() || link.greeted == core.welcomes()) return;
  link.greeted = core.welcomes();
  if (core.run_epoch() != layout_ || core.terms()->parameters != link.shard.count) return core.hang_up();
  core.ready(core.terms()->model, core.terms()->data, now);
  if (!sharded_ || sharded_->work.run_epoch != layout_ || core.acknowledged()) return;
  core.take(sharded_->work);
  send_finished(link, now);
}

/// Whether its WELCOME was of this layout.
bool WorkerHub::is_greeted(const Link& link) { return link.core.online() && link.greeted == link.core.welcomes(); }

/// The parameters, once all shards have brought their part of the same version.
void WorkerHub::gather_parameters() {
  if (links_.empty()) return;
  std::optional<uint64_t> version;
  for (const auto& link : links_) {
    const auto part = link->core.parameters();
    if (!is_greeted(*link) || !part || (version && part->first != *version)) return;
    version = part->first;
  }
  if (const auto here = server_.parameters(); here && here->first == *version) return;
  auto all = std::make_shared<std::vector<std::byte>>();
  all->reserve(server_.terms()->parameters * sizeof(float));
  for (const auto& link : links_) {
    const auto& part = *link->core.parameters()->second;
    all->insert(all->end(), part.begin(), part.end());
  }
  server_.set_parameters(*version, std::move(all));
}

// ---- results

size_t WorkerHub::gradient_begin() const { return sharded_->body->size() - server_.terms()->parameters * element(); }

ResultBytes WorkerHub::part_of(const Link& link) const {
  const Bytes all(*sharded_->body);
  return {all.subspan(gradient_begin() + link.shard.first * element(), link.shard.count * element()), sharded_->body};
}

/// What the server gets: the numbers before the gradient, and the digest of each part.
std::shared_ptr<const std::vector<std::byte>> WorkerHub::report() const {
  const std::vector<std::byte>& body = *sharded_->body;
  auto report =
      std::make_shared<std::vector<std::byte>>(body.begin(), body.begin() + static_cast<ptrdiff_t>(gradient_begin()));
  for (const auto& link : links_) {
    const Digest digest = digest_of(part_of(*link).bytes);
    report->insert(report->end(), digest.begin(), digest.end());
  }
  return report;
}

void WorkerHub::ready(const Digest& model, const Digest& data, Millis now) { server_.ready(model, data, now); }

std::optional<Work> WorkerHub::next() {
  std::optional<Work> work = server_.next();
  if (!work || links_.empty()) return work;
  sharded_ = Sharded{*work, nullptr, false, 0};
  for (const auto& link : links_) {
    link->sent = false;
    link->core.take(*work);
  }
  return work;
}

void WorkerHub::send_part(const Work& work, const std::shared_ptr<const std::vector<std::byte>>& body, size_t from) {
  if (!sharded_) return server_.send_part(work, body, from);
  if (work.run_epoch != layout_) return;
  sharded_->body = body;
  for (const auto& link : links_) {
    if (!is_greeted(*link)) continue;
    const size_t begin = gradient_begin() + link->shard.first * element(), size = link->shard.count * element();
    if (from < begin + size) link->core.send_part(work, part_of(*link), std::max(from, begin) - begin);
  }
}

void WorkerHub::finish(const Work& work, std::shared_ptr<const std::vector<std::byte>> body, double lane_seconds,
                       Millis now) {
  if (!sharded_) return server_.finish(work, body, lane_seconds, now);
  if (!body || work.run_epoch != layout_) {
    sharded_.reset();
    return server_.finish(work, body, lane_seconds, now);
  }
  sharded_->body = std::move(body);
  sharded_->finished = true;
  sharded_->lane_seconds = lane_seconds;
  for (const auto& link : links_) send_finished(*link, now);
  settle(now);
}

void WorkerHub::send_finished(Link& link, Millis now) {
  if (!sharded_->finished || link.sent || !is_greeted(link)) return;
  link.sent = true;
  link.core.finish(sharded_->work, part_of(link), sharded_->lane_seconds, now);
}

/// The server gets the rest of a result when all shards have theirs; nobody does when it is not wanted any more.
void WorkerHub::settle(Millis now) {
  if (!sharded_ || !sharded_->finished) return;
  const bool all = std::ranges::all_of(links_, [](const auto& link) { return link->core.acknowledged(); });
  const bool given_up =
      !wanted(sharded_->work) || std::ranges::any_of(links_, [](const auto& link) { return link->core.turned_down(); });
  if (!all && !given_up) return;
  const Sharded done = *sharded_;
  const auto rest = given_up ? nullptr : report();
  sharded_.reset();
  server_.finish(done.work, rest, done.lane_seconds, now);
}

}  // namespace tern::dist
