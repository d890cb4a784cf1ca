#include "tools/data_fetch.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>

#include "tests/catch.h"
#include "tests/data_http_server.h"
#include "tests/data_test_util.h"
#include "tests/file_size_limit.h"
#include "tools/data_digest.h"

namespace tern::data {
namespace {

using testing::contains;
using testing::HttpServer;
using testing::message_of;
namespace fs = std::filesystem;

const CifarFormat& format10() { return cifar_format("cifar10"); }

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string sha256_of(const std::string& bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

/// Writes .tar.gz archives entry by entry.
class TarWriter {
 public:
  explicit TarWriter(const fs::path& path) : archive_(archive_write_new()) {
    archive_write_add_filter_gzip(archive_);
    archive_write_set_format_ustar(archive_);
    REQUIRE(archive_write_open_filename(archive_, path.c_str()) == ARCHIVE_OK);
  }
  ~TarWriter() { archive_write_free(archive_); }

  void file(const std::string& name, const std::string& bytes) {
    add(name, AE_IFREG, bytes, [](archive_entry*) {});
  }
  void symlink(const std::string& name, const std::string& target) {
    add(name, AE_IFLNK, "", [&](archive_entry* e) { archive_entry_set_symlink(e, target.c_str()); });
  }
  void hardlink(const std::string& name, const std::string& target) {
    add(name, AE_IFREG, "", [&](archive_entry* e) { archive_entry_set_hardlink(e, target.c_str()); });
  }

 private:
  void add(const std::string& name, unsigned type, const std::string& bytes,
           const std::function<void(archive_entry*)>& more) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, static_cast<la_int64_t>(bytes.size()));
    more(entry);
    REQUIRE(archive_write_header(archive_, entry) == ARCHIVE_OK);
    archive_write_data(archive_, bytes.data(), bytes.size());
    archive_entry_free(entry);
  }
  archive* archive_;
};

/// The entries of a sound small CIFAR-10 archive, except `without`.
void add_cifar10(TarWriter& tar, const std::string& without = "") {
  std::string names;
  for (int i = 0; i < 10; ++i) names += "class" + std::to_string(i) + "\n";
  int64_t first = 0;
  for (const auto files : {format10().train_files, format10().test_files}) {
    for (const std::string_view file : files) {
      if (file != without) {
        tar.file("cifar-10-batches-bin/" + std::string(file), testing::cifar_records(format10(), first, 2));
      }
      first += 2;
    }
  }
  tar.file("cifar-10-batches-bin/batches.meta.txt", names);
}

/// A sound archive with things in it that must not be unpacked.
std::string sound_archive(const fs::path& scratch) {
  const fs::path path = scratch / "sound.tar.gz";
  {
    TarWriter tar(path);
    tar.file("cifar-10-batches-bin/readme.html", "not wanted");
    tar.file("../evil", "outside");
    tar.file("/tmp/tern-evil", "outside");
    tar.symlink("cifar-10-batches-bin/link", "/etc/passwd");
    tar.file("data_batch_1.bin", "not in the folder");
    add_cifar10(tar);
  }
  return bytes_of(path);
}

std::vector<std::string> names_in(const fs::path& dir) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

/// A directory to fetch into, an archive, and no proxy between the test and its server.
struct Fixture {
  Fixture() {
    for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY", "TERN_DATA_URL"}) unsetenv(name);
    fs::create_directory(dir);
    fs::create_directory(scratch);
    body = sound_archive(scratch);
    options.sha256 = sha256_of(body);
    part = dir / "cifar-10-binary.tar.gz.part";
  }
  FetchOutcome run(const HttpServer& server) {
    options.url = server.url("/cifar-10-binary.tar.gz");
    return fetch(format10(), dir, options);
  }
  template <class E>
  std::string failure(const HttpServer& server) {
    return message_of<E>([&] { run(server); });
  }

  testing::TemporaryDir root;
  fs::path dir = root.path() / "data", scratch = root.path() / "scratch", part;
  std::string body;
  FetchOptions options;
};

const std::vector<std::string> kUnpackedNames = {"batches.meta.txt", "data_batch_1.bin", "data_batch_2.bin",
                                                 "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin",
                                                 "test_batch.bin"};

}  // namespace

TEST_CASE("fetch: downloads, checks, unpacks only the data set's files, and does it once", "[data]") {
  Fixture f;
  int64_t last = 0, total = 0;
  f.options.progress = [&](int64_t have, int64_t all) {
    CHECK(have >= last);
    last = have;
    total = std::max(total, all);
    return true;
  };
  const HttpServer server({.body = f.body});
  CHECK(f.run(server) == FetchOutcome::kDownloaded);
  CHECK(last == static_cast<int64_t>(f.body.size()));
  CHECK(total == last);
  CHECK(names_in(f.dir) == std::vector<std::string>{"cifar-10-batches-bin"});
  CHECK(names_in(f.dir / "cifar-10-batches-bin") == kUnpackedNames);
  CHECK_FALSE(fs::exists(f.root.path() / "evil"));
  CHECK_FALSE(fs::exists("/tmp/tern-evil"));
  CHECK(open_dataset("cifar10", f.dir, Split::kTrain)->size() == 10);
  CHECK(f.run(server) == FetchOutcome::kAlreadyThere);
  CHECK(server.requests().size() == 1);

  fs::resize_file(f.dir / "cifar-10-batches-bin" / "test_batch.bin", 100);  // a damaged set is loaded anew
  last = 0;
  CHECK(f.run(server) == FetchOutcome::kDownloaded);
  CHECK(open_dataset("cifar10", f.dir, Split::kTest)->size() == 2);
}

TEST_CASE("fetch: a broken download goes on where it stopped", "[data]") {
  Fixture f;
  {
    const HttpServer server({.body = f.body, .hang_up_after = 500});
    const std::string message = f.failure<FetchError>(server);
    CHECK(contains(message, server.url("/cifar-10-binary.tar.gz")));
    CHECK(contains(message, "500 bytes are kept"));
    CHECK(fs::file_size(f.part) == 500);
  }
  SECTION("the server knows ranges") {
    const HttpServer server({.body = f.body});
    CHECK(f.run(server) == FetchOutcome::kDownloaded);
    CHECK(server.requests() == std::vector<std::string>{"GET /cifar-10-binary.tar.gz HTTP/1.1 bytes=500-"});
  }
  SECTION("the server ignores ranges") {
    const HttpServer server({.body = f.body, .ignore_range = true});
    CHECK(f.run(server) == FetchOutcome::kDownloaded);
  }
  SECTION("the server answers another range") {
    const HttpServer server({.body = f.body, .wrong_range = true});
    CHECK(contains(f.failure<FetchError>(server), "bytes from 500 with bytes from 0"));
    CHECK(fs::file_size(f.part) == 500);
  }
  SECTION("everything had come already") {
    testing::write_bytes(f.part, f.body);
    const HttpServer server({.body = f.body});
    CHECK(f.run(server) == FetchOutcome::kDownloaded);
  }
}

TEST_CASE("fetch: a wrong archive is refused before anything is unpacked", "[data]") {
  Fixture f;
  std::string other = f.body;
  other[other.size() / 2] ^= 1;
  {
    const HttpServer server({.body = other});
    const std::string message = f.failure<DataError>(server);
    CHECK(contains(message, sha256_of(other)));
    CHECK(contains(message, sha256_of(f.body)));
    CHECK(fs::is_empty(f.dir));
  }
  const HttpServer server({.body = f.body});  // and the next try starts from nothing
  CHECK(f.run(server) == FetchOutcome::kDownloaded);
}

TEST_CASE("fetch: HTTP errors, no server, and redirects", "[data]") {
  Fixture f;
  for (const int status : {403, 404, 500}) {
    const HttpServer server({.body = f.body, .status = status});
    CHECK(contains(f.failure<FetchError>(server), std::to_string(status)));
    CHECK(fs::file_size(f.part) == 0);  // the error page is not taken for data
  }
  std::string gone;
  {
    const HttpServer server({.body = f.body});
    gone = server.url("/x.tar.gz");
  }
  f.options.url = gone;
  CHECK(contains(message_of<FetchError>([&] { fetch(format10(), f.dir, f.options); }), gone));
  f.options.url = "file:///etc/passwd";
  CHECK(contains(message_of<FetchError>([&] { fetch(format10(), f.dir, f.options); }), "rotocol"));

  const HttpServer to_file({.body = f.body, .redirect = "file:///etc/passwd"});
  CHECK(contains(f.failure<FetchError>(to_file), "rotocol"));
  const HttpServer moved({.body = f.body, .redirect = "/moved"});
  CHECK(f.run(moved) == FetchOutcome::kDownloaded);
}

TEST_CASE("fetch: stopping and a failing progress callback keep what has come", "[data]") {
  Fixture f;
  const HttpServer server({.body = f.body});
  f.options.progress = [](int64_t, int64_t) { return false; };
  CHECK(contains(f.failure<FetchError>(server), "stopped"));
  f.options.progress = [](int64_t, int64_t) -> bool { throw std::logic_error("callback"); };
  CHECK(f.failure<std::logic_error>(server) == "callback");
  f.options.progress = nullptr;
  CHECK(f.run(server) == FetchOutcome::kDownloaded);
}

TEST_CASE("fetch: a full disk is named", "[data]") {
  Fixture f;
  const HttpServer server({.body = f.body});
  const std::string message = [&] {
    const test::FileSizeLimit full(300);
    return f.failure<Error>(server);
  }();
  CHECK(contains(message, f.part.string() + ": cannot write"));
  CHECK(f.run(server) == FetchOutcome::kDownloaded);
}

TEST_CASE("fetch: an archive copied by hand is checked and unpacked without a network", "[data]") {
  Fixture f;
  f.options.url = "http://127.0.0.1:1/none";
  const fs::path archive = f.dir / "cifar-10-binary.tar.gz";
  testing::write_bytes(archive, f.body.substr(1));
  CHECK(contains(message_of<DataError>([&] { fetch(format10(), f.dir, f.options); }), "has SHA-256"));
  CHECK(fs::exists(archive));  // not ours to remove
  testing::write_bytes(archive, f.body);
  CHECK(fetch(format10(), f.dir, f.options) == FetchOutcome::kUnpacked);
  CHECK(fs::exists(archive));
}

TEST_CASE("fetch: where the archive comes from", "[data]") {
  const Fixture f;
  CHECK(fetch_url(format10(), "") == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz");
  setenv("TERN_DATA_URL", "http://mirror/cifar", 1);
  CHECK(fetch_url(format10(), "") == "http://mirror/cifar/cifar-10-binary.tar.gz");
  CHECK(fetch_url(cifar_format("cifar100"), "") == "http://mirror/cifar/cifar-100-binary.tar.gz");
  setenv("TERN_DATA_URL", "http://mirror/x.tar.gz", 1);
  CHECK(fetch_url(format10(), "") == "http://mirror/x.tar.gz");
  CHECK(fetch_url(format10(), "http://asked") == "http://asked");
  unsetenv("TERN_DATA_URL");
  CHECK_THROWS_AS(fetch(cifar_format("synthetic"), f.dir), ConfigError);
}

TEST_CASE("unpack: links, gaps and garbage are refused and leave nothing", "[data]") {
  const Fixture f;
  const fs::path path = f.scratch / "bad.tar.gz";
  const auto refused = [&](const std::function<void(TarWriter&)>& write) {
    {
      TarWriter tar(path);
      write(tar);
    }
    const std::string message = message_of<DataError>([&] { unpack(format10(), path, f.dir); });
    CHECK(fs::is_empty(f.dir));
    return message;
  };
  const std::string first = "cifar-10-batches-bin/data_batch_1.bin";
  CHECK(contains(refused([&](TarWriter& t) {
                   t.symlink(first, "/etc/passwd");
                   add_cifar10(t);
                 }),
                 "is no regular file"));
  CHECK(contains(refused([&](TarWriter& t) {
                   t.hardlink(first, "/etc/passwd");
                   add_cifar10(t);
                 }),
                 "is no regular file"));
  CHECK(contains(refused([&](TarWriter& t) { add_cifar10(t, "test_batch.bin"); }),
                 "it lacks cifar-10-batches-bin/test_batch.bin"));

  testing::write_bytes(path, "this is no archive");
  CHECK(contains(message_of<DataError>([&] { unpack(format10(), path, f.dir); }), "bad.tar.gz"));
  testing::write_bytes(path, f.body.substr(0, f.body.size() / 2));
  CHECK(contains(message_of<DataError>([&] { unpack(format10(), path, f.dir); }), "bad.tar.gz"));
  CHECK(fs::is_empty(f.dir));
}

}  // namespace tern::data
