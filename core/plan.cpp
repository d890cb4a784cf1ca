#include "core/plan.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "core/device_runtime.h"
#include "core/error.h"
#include "core/fusion.h"
#include "core/memory_plan.h"
#include "core/recorder.h"
#include "core/storage.h"

namespace tern {
namespace {

/// A storage that the plan touches: one of the outside world (parameters, the plan's inputs), or a place in the arena.
struct Value {
  std::shared_ptr<Storage> outside;
  std::weak_ptr<Storage> recorded;  // the buffer of the recording run, to see whether it outlives it
  std::string_view made_by;
  size_t bytes;       // in the arena
  Lifetime lifetime;  // of no bytes: outside, or merged away
};

/// Turns the ops of one eager run into instructions over values.
class PlanRecorder final : public Recorder {
 public:
  void record(const Event& event) override {
    Instruction instruction{event.op, {}, {}, event.workspace, {}, std::exchange(phase_, {})};
    for (const Tensor& input : event.inputs) instruction.in.push_back(refer(input));
    for (size_t i = 0; i < event.outputs.size(); ++i) {
      const Tensor& output = event.outputs[i];
      if (!event.aliases[i]) {
        ids_.emplace(output.storage()->id(), values.size());
        values.push_back({nullptr, output.storage(), event.op->name(), output.bytes(), {}});
      }
      instruction.out.push_back(refer(output));
      if (event.aliases[i] && event.aliases[i]->writes && values[instruction.out.back().value].outside)
        instruction.overwritten.push_back(instruction.out.back().value);
    }
    instructions.push_back(std::move(instruction));
  }

  void record_phase(std::string_view phase) override { phase_ = phase; }

  Ref refer(const Tensor& tensor) {
    const auto [it, outside] = ids_.try_emplace(tensor.storage()->id(), values.size());
    if (outside) values.push_back({tensor.storage(), {}, "", 0, {}});
    return {it->second, tensor.storage_offset(), tensor.spec()};
  }

  std::vector<Value> values;
  std::vector<Instruction> instructions;

 private:
  std::unordered_map<uint64_t, size_t> ids_;  // Storage::id() -> value
  std::string_view phase_;                    // entered since the last instruction
};

/// Puts a recorder into the context while it lives.
class Recording {
 public:
  Recording(Context& context, Recorder& recorder) : context_(context), before_(context.recorder()) {
    context.set_recorder(&recorder);
  }
  ~Recording() { context_.set_recorder(before_); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  Context& context_;
  Recorder* before_;
};

class Plan {
 public:
  Plan(Context& context, const CompiledStep::Function& step, std::span<const Tensor> inputs, const CompileOptions& options)
      : context_(context), arena_(options.arena) {
    for (const Tensor& input : inputs) {
      Tensor own = Tensor::empty(context, input.shape(), input.dtype());
      own.copy_from(input);
      if (input.requires_grad()) own.set_requires_grad();
      inputs_.push_back(own);
    }
    PlanRecorder recorder;
    {
      Recording recording(context, recorder);
      outputs_of_recording_ = step(inputs_);
    }
    for (const Tensor& output : outputs_of_recording_) output_refs_.push_back(recorder.refer(output));
    values_ = std::move(recorder.values);
    instructions_ = std::move(recorder.instructions);
    refuse_escapes();
    const int fused = context.options().fusion ? fuse(instructions_, output_refs_, context) : 0;
    find_lifetimes();
    lay_out(options.reuse_memory);
    stats_.fused = fused;
  }

  /// What the recording run computed; then the buffers of that run are given up and replay() takes over.
  std::vector<Tensor> take_recorded_outputs() { return std::move(outputs_of_recording_); }

  std::vector<Tensor> replay(std::span<const Tensor> inputs) {
    bind();
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].raw() == inputs_[i].raw()) continue;
      inputs_[i].copy_from(inputs[i]);
    }
    const bool observed = context_.recorder() != nullptr;
    if (context_.options().graph && !graph_ && !observed) graph_ = context_.runtime().capture([this] { run_instructions(); });
    if (graph_ && !observed) {
      // The clock of the host sees a graph as one piece: its time is booked under the first phase.
      if (!instructions_.empty() && !instructions_[0].phase.empty()) context_.enter_phase(instructions_[0].phase);
      graph_->launch();
    } else {
      run_instructions();
    }
    for (const Instruction& instruction : instructions_)
      for (size_t value : instruction.overwritten) values_[value].outside->bump_version();
    return outputs_;
  }

  PlanStats stats() const {
    PlanStats stats = stats_;
    stats.graph_nodes = graph_ ? graph_->nodes() : 0;
    return stats;
  }

 private:
  struct Bound {
    std::vector<Tensor> in, out;
    std::span<std::byte> workspace;
  };

  void run_instructions() {
    const bool poison = context_.options().poison;
    Recorder* const observer = context_.recorder();
    for (size_t i = 0; i < instructions_.size(); ++i) {
      Launch launch{context_, launches_[i].in, launches_[i].out, launches_[i].workspace};
      if (!instructions_[i].phase.empty()) context_.enter_phase(instructions_[i].phase);
      if (poison && !launch.workspace.empty())
        context_.runtime().fill(launch.workspace.data(), 0xff, launch.workspace.size());
      if (observer)
        observer->run(*instructions_[i].op, launch);
      else
        instructions_[i].op->run(launch);
      if (poison) poison_dead(static_cast<int>(i));
    }
  }

  /// A tensor made in the step and kept outside would not be updated by replays.
  void refuse_escapes() const {
    for (const Value& value : values_) {
      if (value.outside) continue;
      const auto storage = value.recorded.lock();
      if (!storage) continue;
      long held_by_outputs = 0;
      for (const Tensor& output : outputs_of_recording_) held_by_outputs += output.storage() == storage;
      if (held_by_outputs == 0)
        throw AutogradError("[compile] a result of " + std::string(value.made_by) +
                            " is kept outside of the recorded step; return it from the step instead");
    }
  }

  void find_lifetimes() {
    const auto touch = [&](const Ref& ref, size_t now) {
      Value& value = values_[ref.value];
      if (value.outside) return;
      if (value.lifetime.bytes == 0) value.lifetime = {value.bytes, static_cast<int>(now), static_cast<int>(now)};
      value.lifetime.last = static_cast<int>(now);
    };
    for (size_t i = 0; i < instructions_.size(); ++i) {
      for (const Ref& ref : instructions_[i].in) touch(ref, i);
      for (const Ref& ref : instructions_[i].out) touch(ref, i);
    }
    for (const Ref& ref : output_refs_) touch(ref, instructions_.size());
  }

  void lay_out(bool reuse) {
    std::vector<Lifetime> lifetimes;
    for (const Value& value : values_) lifetimes.push_back(value.lifetime);
    for (size_t i = 0; i < instructions_.size(); ++i)
      lifetimes.push_back({instructions_[i].workspace, static_cast<int>(i), static_cast<int>(i)});
    layout_ = plan_memory(lifetimes, reuse);
    stats_ = {.instructions = static_cast<int>(instructions_.size()),
              .arena_bytes = layout_.bytes,
              .unplanned_bytes = plan_memory(lifetimes, false).bytes};
  }

  Tensor bind(const Ref& ref, const std::shared_ptr<Storage>& arena) {
    const Value& value = values_[ref.value];
    if (value.outside) return Tensor::view_of(context_, value.outside, ref.offset, ref.spec);
    return Tensor::view_of(context_, arena, layout_.offsets[ref.value] + ref.offset, ref.spec);
  }

  void bind() {
    const std::shared_ptr<Storage> arena = arena_->reserve(layout_.bytes);
    if (bound_to_ == arena) return;
    bound_to_ = arena;
    graph_.reset();  // it works on the old arena
    launches_.clear();
    outputs_.clear();
    for (size_t i = 0; i < instructions_.size(); ++i) {
      Bound bound;
      for (const Ref& ref : instructions_[i].in) bound.in.push_back(bind(ref, arena));
      for (const Ref& ref : instructions_[i].out) bound.out.push_back(bind(ref, arena));
      if (instructions_[i].workspace > 0)
        bound.workspace = {static_cast<std::byte*>(arena->data()) + layout_.offsets[values_.size() + i], instructions_[i].workspace};
      launches_.push_back(std::move(bound));
    }
    for (const Ref& ref : output_refs_) outputs_.push_back(bind(ref, arena));
  }

  /// Debugging: whatever the step reads after its last use is NaN.
  void poison_dead(int now) const {
    for (size_t i = 0; i < values_.size(); ++i)
      if (values_[i].lifetime.bytes > 0 && values_[i].lifetime.last == now)
        context_.runtime().fill(static_cast<std::byte*>(bound_to_->data()) + layout_.offsets[i], 0xff,
                                values_[i].lifetime.bytes);
  }

  Context& context_;
  std::shared_ptr<Arena> arena_;
  std::vector<Tensor> inputs_, outputs_, outputs_of_recording_;
  std::vector<Value> values_;
  std::vector<Instruction> instructions_;
  std::vector<Ref> output_refs_;
  MemoryLayout layout_;
  PlanStats stats_;
  std::shared_ptr<Storage> bound_to_;
  std::vector<Bound> launches_;
  std::unique_ptr<DeviceGraph> graph_;  // the instructions on the bound arena; null: they are run one by one
};

/// What a plan depends on besides tensor values.
struct PlanKey {
  std::vector<Spec> specs;
  std::vector<bool> requires_grad;
  int64_t lane_size;
  bool grad_enabled;
  bool operator==(const PlanKey&) const = default;
};

}  // namespace

std::shared_ptr<Storage> Arena::reserve(size_t bytes) {
  std::shared_ptr<Storage> storage = storage_.lock();
  if (storage && storage->bytes() >= bytes) return storage;
  storage.reset();
  storage = std::make_shared<Storage>(context_, std::max(bytes, bytes_), "plan arena");
  bytes_ = storage->bytes();
  storage_ = storage;
  return storage;
}

std::string PlanStats::str() const {
  return std::to_string(instructions) + " ops" + (fused > 0 ? " (" + std::to_string(fused) + " fused into them)" : "") + ", arena " + std::to_string(arena_bytes >> 10) + " KiB (" +
         std::to_string(unplanned_bytes >> 10) + " KiB without reuse)" +
         (graph_nodes > 0 ? ", graph of " + std::to_string(graph_nodes) + " nodes" : "");
}

struct CompiledStep::Impl {
  Context& context;
  Function step;
  CompileOptions options;
  std::vector<std::pair<PlanKey, std::unique_ptr<Plan>>> plans;
};

CompiledStep::CompiledStep(Context& context, Function step, CompileOptions options)
    : impl_(std::make_unique<Impl>(Impl{context, std::move(step), std::move(options), {}})) {
  if (!impl_->options.arena) impl_->options.arena = std::make_shared<Arena>(context);
}
CompiledStep::~CompiledStep() = default;
CompiledStep::CompiledStep(CompiledStep&&) noexcept = default;
CompiledStep& CompiledStep::operator=(CompiledStep&&) noexcept = default;

std::vector<Tensor> CompiledStep::operator()(std::span<const Tensor> inputs) {
  Context& context = impl_->context;
  if (context.recorder() && !context.recorder()->observes()) throw AutogradError("[compile] a compiled step is called while another one is recorded");
  if (!impl_->options.plan) return impl_->step(inputs);
  PlanKey key{{}, {}, context.lane_size(), context.grad_enabled()};
  for (const Tensor& input : inputs) {
    key.specs.push_back(input.spec());
    key.requires_grad.push_back(input.requires_grad());
  }
  for (auto& [known, plan] : impl_->plans)
    if (known == key) return plan->replay(inputs);
  // The recording runs on blocks of the caching allocator, replays on the arena: what either leaves goes back to the system.
  context.allocator().trim();
  auto plan = std::make_unique<Plan>(context, impl_->step, inputs, impl_->options);
  std::vector<Tensor> outputs = plan->take_recorded_outputs();
  impl_->plans.emplace_back(std::move(key), std::move(plan));
  context.allocator().trim();
  return outputs;
}

void CompiledStep::reset() { impl_->plans.clear(); }

std::vector<PlanStats> CompiledStep::stats() const {
  std::vector<PlanStats> stats;
  for (const auto& [key, plan] : impl_->plans) stats.push_back(plan->stats());
  return stats;
}

}  // namespace tern
