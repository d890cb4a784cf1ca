#include "tools/team.h"

#include <cstdio>

#include "tools/exit_codes.h"

namespace tern {
namespace {

std::vector<std::string> gather_texts(dist::Group& group, const std::string& mine) {
  std::vector<std::string> texts;
  for (const std::vector<std::byte>& bytes : dist::all_gather(group, std::as_bytes(std::span(mine))))
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return texts;
}

// The first byte of a text: all is well, or the exit code that follows from an error.
constexpr char kWell = 0;

void throw_if_failed(const std::vector<std::string>& texts) {
  for (size_t rank = 0; rank < texts.size(); ++rank)
    if (texts[rank].at(0) != kWell)
      throw RankError(static_cast<int>(rank), static_cast<unsigned char>(texts[rank][0]), "rank " + std::to_string(rank) + ": " + texts[rank].substr(1));
}

bool on_all_ranks(const std::exception& error) {
  return dynamic_cast<const DivergedError*>(&error) || dynamic_cast<const ExpectationError*>(&error);
}

}  // namespace

std::vector<std::string> Team::gather(const std::string& mine) {
  if (size() == 1) return {mine};
  std::vector<std::string> texts = gather_texts(*group_, kWell + mine);
  throw_if_failed(texts);
  for (std::string& text : texts) text.erase(0, 1);
  return texts;
}

std::string Team::from_leader(const std::string& text) { return gather(leads() ? text : std::string())[0]; }

int Team::first_unlike(const std::string& mine) {
  const std::vector<std::string> all = gather(mine);
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0]) return static_cast<int>(rank);
  return -1;
}

StopRequest Team::agree(StopRequest mine) {
  if (size() == 1) return mine;
  StopRequest all;
  for (const std::string& text : gather({static_cast<char>(mine.signal), static_cast<char>(mine.out_of_time)})) {
    if (all.signal == 0) all.signal = text.at(0);
    all.out_of_time = all.out_of_time || text.at(1) != 0;
  }
  return all;
}

int Team::fail(const std::exception& error, const std::string& program) {
  if (const auto* other = dynamic_cast<const RankError*>(&error)) return other->code;
  const int code = static_cast<int>(exit_code_for(error));
  const std::string who = program + (rank() > 0 ? ": rank " + std::to_string(rank()) : "") + ": ";
  const auto print = [&] { std::fprintf(stderr, "%s%s\n", who.c_str(), error.what()); };
  if (size() == 1) {
    print();
    return code;
  }
  const bool lost = dynamic_cast<const PeerLostError*>(&error) != nullptr;
  if (lost || (stepping_ && !on_all_ranks(error))) {
    print();
    std::fflush(nullptr);
    group_->abort(code);
  }
  try {
    throw_if_failed(gather_texts(*group_, static_cast<char>(code) + std::string(error.what())));
  } catch (const RankError& first) {
    if (first.rank == rank()) print();
    return first.code;
  } catch (const std::exception&) {  // nobody to talk to any more
    print();
  }
  return code;
}

}  // namespace tern
