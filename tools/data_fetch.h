#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "core/error.h"
#include "tools/data_cifar.h"

/// Downloading the published archives.
namespace tern::data {

/// A download that failed for want of a network, an answer or room on the disk (programs: exit 1). What has arrived is
/// kept, and the next fetch goes on from there.
struct FetchError : Error {
  using Error::Error;
};

struct FetchOptions {
  std::string url;     ///< another place to load the archive from; empty: TERN_DATA_URL, else the published one
  std::string sha256;  ///< of the archive; empty: the published one
  /// Told bytes so far and in all (0: not known); false stops the download. Called a few times a second.
  std::function<bool(int64_t have, int64_t total)> progress;
};

enum class FetchOutcome {
  kAlreadyThere,  ///< every file was there and passed its checks: nothing was done
  kUnpacked,      ///< the archive lay in DIR (copied there by hand): no network was used
  kDownloaded
};

/// Where the archive of `format` is loaded from: `url` if not empty, else TERN_DATA_URL, else the published address. A
/// TERN_DATA_URL that does not end in ".tar.gz" names a directory that holds the archive.
std::string fetch_url(const CifarFormat& format, const std::string& url);

/// Puts cifar10 or cifar100 into DIR/folder: downloads the archive to DIR/ARCHIVE.part (going on where an earlier try
/// stopped), checks its SHA-256, unpacks the data set's own files and removes the archive.
/// Throws ConfigError for a data set without an archive, FetchError, DataError when the archive is not the published
/// one or lacks a file, Error when the disk refuses.
FetchOutcome fetch(const CifarFormat& format, const std::filesystem::path& dir, const FetchOptions& options = {});

/// Unpacks from a .tar.gz the data set's files, and no others, into DIR/folder. An entry counts only by its exact name,
/// and only as a regular file of a plausible size; nothing appears in the folder unless every file was in the archive.
/// Throws DataError for a bad archive, Error when the disk refuses.
void unpack(const CifarFormat& format, const std::filesystem::path& archive, const std::filesystem::path& dir);

}  // namespace tern::data
