#include "nn/module.h"

#include "core/error.h"
#include "nn/batch_norm.h"

namespace tern::nn {
namespace {

struct ParameterCollector final : Visitor {
  std::vector<Parameter> found;
  void on_parameter(const Parameter& parameter) override { found.push_back(parameter); }
};

struct BufferCollector final : Visitor {
  std::vector<Buffer> found;
  void on_buffer(const Buffer& buffer) override { found.push_back(buffer); }
};

template <class M, class F>
struct ModuleWalker final : Visitor {
  explicit ModuleWalker(F f) : each(std::move(f)) {}
  void on_module(const std::string&, Module& module) override {
    if (auto* wanted = dynamic_cast<M*>(&module)) each(*wanted);
  }
  F each;
};

template <class M, class F>
void for_each(Module& root, F each) {
  ModuleWalker<M, F> walker(std::move(each));
  walker.child("", root);
}

}  // namespace

void Visitor::child(const std::string& name, Module& module) {
  const std::string before = prefix_;
  if (!name.empty()) prefix_ += name + ".";
  on_module(name, module);
  module.visit(*this);
  prefix_ = before;
}

void Module::train(bool on) {
  for_each<Module>(*this, [on](Module& module) { module.training_ = on; });
}

std::vector<Parameter> Module::parameters() {
  ParameterCollector collector;
  collector.child("", *this);
  return std::move(collector.found);
}

std::vector<Buffer> Module::buffers() {
  BufferCollector collector;
  collector.child("", *this);
  return std::move(collector.found);
}

std::vector<Tensor> Module::take_statistics() {
  std::vector<Tensor> statistics;
  for_each<BatchNorm>(*this, [&](BatchNorm& norm) { norm.take_statistics(statistics); });
  return statistics;
}

void Module::update_statistics(std::span<const Tensor> statistics, Lanes lanes, const Tensor& skip) {
  size_t next = 0;
  for_each<BatchNorm>(*this, [&](BatchNorm& norm) {
    if (next + 2 > statistics.size()) throw ShapeError("[update_statistics] fewer statistics than BatchNorm layers");
    norm.update_statistics(statistics[next], statistics[next + 1], lanes, skip);
    next += 2;
  });
}

}  // namespace tern::nn
