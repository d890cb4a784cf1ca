#include "tools/data_fetch.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string_view>

#include "tools/data_digest.h"
#include "tools/data_file.h"

namespace tern::data {
namespace {

namespace fs = std::filesystem;

/// More than either archive: a server that sends on and on must not fill the disk.
constexpr int64_t kMostBytes = 1 << 30;

struct CloseCurl {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};

/// One HTTP request whose body goes to the end of a file. The callbacks run inside curl, so exceptions wait in `error`.
struct Transfer {
  CURL* curl;
  File* file;
  const FetchOptions* options;
  int64_t have;          ///< bytes in the file
  int64_t range_start;   ///< that the answer's Content-Range names, or -1
  bool started = false;  ///< the first piece of the body has come
  bool stopped = false;  ///< by the progress callback
  std::exception_ptr error = nullptr;

  void take(std::string_view body);
};

void Transfer::take(std::string_view body) {
  if (!started) {
    started = true;
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 206) {  // the server ignores Range and sends the file from its first byte
      have = 0;
      file->truncate(0);
    } else if (range_start != have) {
      throw FetchError("[fetch] the server answered a request for bytes from " + with_commas(have) +
                       " with bytes from " + std::to_string(range_start));
    }
  }
  if (have + static_cast<int64_t>(body.size()) > kMostBytes) {
    throw FetchError("[fetch] the answer is longer than " + with_commas(kMostBytes) +
                     " bytes: this is no CIFAR archive");
  }
  file->write(body);
  have += static_cast<int64_t>(body.size());
}

size_t on_body(char* bytes, size_t, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    transfer.take({bytes, count});
    return count;
  } catch (...) {
    transfer.error = std::current_exception();
    return count == 0 ? 1 : 0;  // anything but count makes curl stop
  }
}

size_t on_header(char* bytes, size_t, size_t count, void* user) {
  constexpr std::string_view kName = "content-range: bytes ";
  const std::string_view line(bytes, count);
  if (line.size() <= kName.size() || !curl_strnequal(bytes, kName.data(), kName.size())) return count;
  static_cast<Transfer*>(user)->range_start = std::strtoll(std::string(line.substr(kName.size())).c_str(), nullptr, 10);
  return count;
}

int on_progress(void* user, curl_off_t total, curl_off_t now, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (!transfer.options->progress) return 0;
  try {
    const int64_t before = std::max<int64_t>(transfer.have - now, 0);  // bytes of earlier tries
    transfer.stopped = !transfer.options->progress(transfer.have, total > 0 ? before + total : 0);
  } catch (...) {
    transfer.error = std::current_exception();
    return 1;
  }
  return transfer.stopped ? 1 : 0;
}

void configure(CURL* curl, Transfer& transfer, const std::string& url, const std::string& range, char* message) {
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);  // an error page is no archive
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "tern");
  if (!range.empty()) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

/// Brings `part` to its full length, going on from what is there.
void download(const std::string& url, const fs::path& part, const FetchOptions& options) {
  File file = File::open_locked(part);
  const std::unique_ptr<CURL, CloseCurl> curl(curl_easy_init());
  if (!curl) throw FetchError("[fetch] curl cannot start");
  Transfer transfer{.curl = curl.get(), .file = &file, .options = &options, .have = file.size(), .range_start = -1};
  const std::string range = transfer.have > 0 ? std::to_string(transfer.have) + "-" : "";
  char message[CURL_ERROR_SIZE] = "";
  configure(curl.get(), transfer, url, range, message);
  const CURLcode code = curl_easy_perform(curl.get());
  if (transfer.error) std::rethrow_exception(transfer.error);
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  // 416: nothing comes after what we have. It may be complete; the checksum will tell.
  const bool nothing_left = status == 416 && !range.empty();
  if (code != CURLE_OK && !nothing_left) {
    const std::string kept =
        with_commas(transfer.have) + " bytes are kept in " + part.string() + ", the same command goes on from there";
    if (transfer.stopped) throw FetchError("[fetch] stopped; " + kept);
    throw FetchError("[fetch] " + url + ": " + (message[0] != '\0' ? message : curl_easy_strerror(code)) + "; " + kept);
  }
  file.commit();
}

/// Whether every file of the data set is in DIR and sound. A damaged one is fetched anew.
bool already_there(const CifarFormat& format, const fs::path& dir) {
  try {
    open_dataset(format.name, dir, Split::kTrain);
    open_dataset(format.name, dir, Split::kTest);
    return true;
  } catch (const DataError&) {
    return false;
  }
}

void require_digest(const fs::path& path, const std::string& wanted) {
  const std::string got = sha256_file(path);
  if (got == wanted) return;
  std::error_code ignored;
  fs::remove(path, ignored);
  throw DataError("[fetch] " + path.string() + " has SHA-256 " + got + ", wanted " + wanted +
                  ": it is damaged or another file, and was removed; run the command again to load it anew");
}

}  // namespace

std::string fetch_url(const CifarFormat& format, const std::string& url) {
  if (!url.empty()) return url;
  const char* mirror = std::getenv("TERN_DATA_URL");
  if (mirror == nullptr || *mirror == '\0') return std::string(format.url);
  std::string address = mirror;
  if (address.ends_with(".tar.gz")) return address;
  if (!address.ends_with("/")) address += "/";
  return address + std::string(format.archive());
}

FetchOutcome fetch(const CifarFormat& format, const fs::path& dir, const FetchOptions& options) {
  if (format.url.empty()) {
    throw ConfigError("[fetch] " + std::string(format.name) + " is not downloaded; make it with: trainer data synth");
  }
  if (already_there(format, dir)) return FetchOutcome::kAlreadyThere;
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) throw Error("[fetch] cannot create " + dir.string() + ": " + error.message());

  const std::string sha256 = options.sha256.empty() ? std::string(format.sha256) : options.sha256;
  const fs::path archive = dir / format.archive();
  const bool by_hand = fs::exists(archive);
  if (by_hand) {
    const std::string got = sha256_file(archive);
    if (got != sha256) {  // somebody's file: not ours to remove
      throw DataError("[fetch] " + archive.string() + " has SHA-256 " + got + ", wanted " + sha256 +
                      ": it is damaged or another file; remove it to download the right one");
    }
  } else {
    const fs::path part = archive.string() + ".part";
    download(fetch_url(format, options.url), part, options);
    require_digest(part, sha256);
    rename_file(part, archive);
  }
  unpack(format, archive, dir);
  if (!by_hand) fs::remove(archive, error);
  // What the program will read must be what was just unpacked: here a SYNTHETIC marker, or a damaged copy, would show.
  open_dataset(format.name, dir, Split::kTrain);
  open_dataset(format.name, dir, Split::kTest);
  return by_hand ? FetchOutcome::kUnpacked : FetchOutcome::kDownloaded;
}

}  // namespace tern::data
