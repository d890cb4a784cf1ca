#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "core/context.h"

namespace tern {

/// A block of memory: from the context's allocator, or a borrowed part of an arena that `keep_alive` owns.
class Storage {
 public:
  Storage(Context& context, size_t bytes) : Storage(context, bytes, context.memory_tag()) {}
  Storage(Context& context, size_t bytes, std::string_view tag)
      : allocator_(&context.allocator()),
        data_(context.allocator().allocate(bytes, tag)),
        bytes_(bytes),
        id_(context.next_sequence()) {}
  Storage(Context& context, void* data, size_t bytes, std::shared_ptr<void> keep_alive)
      : data_(data), bytes_(bytes), id_(context.next_sequence()), keep_alive_(std::move(keep_alive)) {}
  ~Storage() {
    if (allocator_) allocator_->free(data_);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  /// Unique in its context, never used again: addresses are.
  uint64_t id() const { return id_; }
  /// Counts the ops that overwrote it in place: the tape refuses to differentiate through values that are gone.
  uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  Allocator* allocator_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  uint64_t id_ = 0;
  uint64_t version_ = 0;
  std::shared_ptr<void> keep_alive_;
};

}  // namespace tern
