#pragma once
// How each C++ type looks in JSON; included by tools/config_table.h only.
#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tern::config_table {

template <>
struct EnumNames<ModelName> {
  static constexpr std::array<const char*, 5> values = {"cifar-cnn", "lenet", "resnet18", "airbench94", "layers"};
};
template <>
struct EnumNames<InitScheme> {
  static constexpr std::array<const char*, 3> values = {"default", "kaiming", "xavier"};
};
template <>
struct EnumNames<DataName> {
  static constexpr std::array<const char*, 4> values = {"cifar10", "cifar100", "synthetic", "folder"};
};
template <>
struct EnumNames<PictureFit> {
  static constexpr std::array<const char*, 2> values = {"crop", "stretch"};
};
template <>
struct EnumNames<AugmentName> {
  static constexpr std::array<const char*, 3> values = {"crop", "flip", "cutout"};
};
template <>
struct EnumNames<PadMode> {
  static constexpr std::array<const char*, 2> values = {"zero", "reflect"};
};
template <>
struct EnumNames<LossSum> {
  static constexpr std::array<const char*, 2> values = {"mean", "sum"};
};
template <>
struct EnumNames<TtaName> {
  static constexpr std::array<const char*, 3> values = {"none", "flip", "flip_shift"};
};
template <>
struct EnumNames<OptimName> {
  static constexpr std::array<const char*, 3> values = {"adamw", "sgd", "muon"};
};
template <>
struct EnumNames<ScheduleName> {
  static constexpr std::array<const char*, 5> values = {"onecycle", "cosine", "step", "linear", "constant"};
};
template <>
struct EnumNames<Anneal> {
  static constexpr std::array<const char*, 2> values = {"cos", "linear"};
};
template <>
struct EnumNames<Precision> {
  static constexpr std::array<const char*, 5> values = {"auto", "fp32", "tf32", "bf16", "fp16"};
};
template <>
struct EnumNames<Metric> {
  static constexpr std::array<const char*, 6> values = {"train_loss", "train_acc", "val_loss",
                                                        "val_acc",    "test_loss", "test_acc"};
};

/// The value of E called `name`, or nullopt.
template <class E>
std::optional<E> enum_from(std::string_view name) {
  for (size_t i = 0; i < EnumNames<E>::values.size(); ++i) {
    if (name == EnumNames<E>::values[i]) return static_cast<E>(i);
  }
  return std::nullopt;
}

template <class E>
std::string_view enum_name(E value) {
  return EnumNames<E>::values[static_cast<size_t>(value)];
}

template <>
struct Codec<bool> {
  static std::string words(const Rule&) { return "true or false"; }
  static ordered_json schema(const Rule&) { return {{"type", "boolean"}}; }
  static ordered_json write(bool v) { return v; }
  static bool read(const json& v, const Place& at, const Rule& rule) {
    return v.is_boolean() ? v.get<bool>() : (at.fail_type(v, words(rule)), false);
  }
};

template <>
struct Codec<std::string> {
  static std::string words(const Rule&) { return "a string"; }
  static ordered_json schema(const Rule&) { return {{"type", "string"}, {"minLength", 1}}; }
  static ordered_json write(const std::string& v) { return v; }
  static std::string read(const json& v, const Place& at, const Rule& rule) {
    if (!v.is_string()) at.fail_type(v, words(rule));
    if (v.get_ref<const std::string&>().empty()) at.fail("got \"\", wanted a string that is not empty");
    return v.get<std::string>();
  }
};

template <std::integral T>
struct Codec<T> {
  static Rule within(Rule rule) {  // what T can hold, exactly
    rule.lo = std::max(rule.lo, static_cast<double>(std::numeric_limits<T>::min()));
    const double end = std::ldexp(1.0, std::numeric_limits<T>::digits);  // the first number that T cannot hold
    if (rule.hi >= end) rule.hi = end, rule.open_hi = true;
    return rule;
  }
  static std::string words(const Rule& rule) { return "an integer" + within(rule).text(); }
  static ordered_json schema(const Rule& rule) {
    ordered_json out = {{"type", "integer"}};
    within(rule).describe(out);
    return out;
  }
  static ordered_json write(T v) { return v; }
  static T read(const json& v, const Place& at, const Rule& rule) {
    if (!v.is_number()) at.fail_type(v, words(rule));
    std::optional<T> exact;
    if (v.is_number_unsigned()) {
      if (std::in_range<T>(v.get<uint64_t>())) exact = static_cast<T>(v.get<uint64_t>());
    } else if (v.is_number_integer()) {
      if (std::in_range<T>(v.get<int64_t>())) exact = static_cast<T>(v.get<int64_t>());
    } else if (const double d = v.get<double>(); std::abs(d) < 0x1p53 && d == std::floor(d)) {  // 1e3 is an integer
      if (std::in_range<T>(static_cast<int64_t>(d))) exact = static_cast<T>(d);
    }
    if (!exact || !rule.allows(static_cast<double>(*exact))) at.fail_type(v, words(rule));
    return *exact;
  }
};

template <>
struct Codec<double> {
  static std::string words(const Rule& rule) { return "a number" + rule.text(); }
  static ordered_json schema(const Rule& rule) {
    ordered_json out = {{"type", "number"}};
    rule.describe(out);
    return out;
  }
  static ordered_json write(double v) { return v; }
  static double read(const json& v, const Place& at, const Rule& rule) {
    if (!v.is_number() || !rule.allows(v.get<double>())) at.fail_type(v, words(rule));
    return v.get<double>() + 0.0;  // no minus zero: equal values must be equal text
  }
};

template <class E>
requires std::is_enum_v<E>
struct Codec<E> {
  static std::string words(const Rule&) {
    std::string out = "one of";
    for (const char* name : EnumNames<E>::values) out += std::string(out.size() > 6 ? ", \"" : " \"") + name + "\"";
    return out;
  }
  static ordered_json schema(const Rule&) { return {{"enum", EnumNames<E>::values}}; }
  static ordered_json write(E v) { return std::string(enum_name(v)); }
  static E read(const json& v, const Place& at, const Rule& rule) {
    const std::optional<E> found = v.is_string() ? enum_from<E>(v.get_ref<const std::string&>()) : std::nullopt;
    if (!found) at.fail_type(v, words(rule));
    return *found;
  }
};

template <class T>
struct Codec<std::optional<T>> {
  static std::string words(const Rule& rule) { return Codec<T>::words(rule) + ", or null"; }
  static ordered_json schema(const Rule& rule) { return {{"oneOf", {Codec<T>::schema(rule), {{"type", "null"}}}}}; }
  static ordered_json write(const std::optional<T>& v) { return v ? Codec<T>::write(*v) : ordered_json(); }
  static std::optional<T> read(const json& v, const Place& at, const Rule& rule) {
    if (v.is_null()) return std::nullopt;
    return Codec<T>::read(v, {at.document, at.path, true}, rule);
  }
};

template <class T, size_t N>
struct Codec<std::array<T, N>> {
  static std::string words(const Rule& rule) {
    return "a list of " + std::to_string(N) + ", each " + Codec<T>::words(rule);
  }
  static ordered_json schema(const Rule& rule) {
    return {{"type", "array"}, {"items", Codec<T>::schema(rule)}, {"minItems", N}, {"maxItems", N}};
  }
  static ordered_json write(const std::array<T, N>& v) { return v; }
  static std::array<T, N> read(const json& v, const Place& at, const Rule& rule) {
    if (!v.is_array() || v.size() != N) at.fail_type(v, words(rule));
    std::array<T, N> out{};
    for (size_t i = 0; i < N; ++i) out[i] = Codec<T>::read(v[i], at.at(std::to_string(i)), rule);
    return out;
  }
};

template <>
struct Codec<PictureSize> {
  static std::string words(const Rule& rule) { return Codec<int>::words(rule) + ", or a list of two: height, width"; }
  static ordered_json schema(const Rule& rule) { return {{"oneOf", {Codec<int>::schema(rule), Codec<std::array<int, 2>>::schema(rule)}}}; }
  static ordered_json write(const PictureSize& v) { return {v.height, v.width}; }
  static PictureSize read(const json& v, const Place& at, const Rule& rule) {
    if (!v.is_array() && !v.is_number()) at.fail_type(v, words(rule));
    if (v.is_number()) {
      const int side = Codec<int>::read(v, at, rule);
      return {side, side};
    }
    const auto sides = Codec<std::array<int, 2>>::read(v, at, rule);
    return {sides[0], sides[1]};
  }
};

template <>
struct Codec<NonfinitePolicy> {
  static std::string words(const Rule&) { return "\"stop\" or \"skip:K\" (K from 1 to 1000000)"; }
  static ordered_json schema(const Rule&) {
    return {{"type", "string"}, {"pattern", "^(stop|skip:([1-9][0-9]{0,5}|1000000))$"}};
  }
  static ordered_json write(const NonfinitePolicy& v) {
    return v.skips == 0 ? "stop" : "skip:" + std::to_string(v.skips);
  }
  static NonfinitePolicy read(const json& v, const Place& at, const Rule& rule);
};

}  // namespace tern::config_table
