#include "core/op.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/recorder.h"
#include "core/tensor_impl.h"

namespace tern {
namespace {

void check_inputs(const Op& op, const Context& context, std::span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string which = "[" + std::string(op.name()) + "] input " + std::to_string(i);
    if (!inputs[i].defined()) throw ShapeError(which + " is undefined");
    if (&inputs[i].context() != &context) throw DeviceError(which + " belongs to another context");
    if (inputs[i].numel() == 0) throw ShapeError(which + " is empty: " + inputs[i].spec().str());
  }
}

Tensor make_output(const Op& op, Context& context, const Spec& spec, const std::optional<Alias>& alias, std::span<const Tensor> inputs) {
  if (!alias) return Tensor::empty(context, spec.shape, spec.dtype);
  const Tensor& base = inputs[static_cast<size_t>(alias->input)];
  if (alias->writes) {
    if (context.grad_enabled() && base.requires_grad())
      throw AutogradError("[" + std::string(op.name()) + "] overwrites a tensor that requires a gradient");
    base.storage()->bump_version();
  }
  return Tensor::view_of(context, base.storage(), base.storage_offset() + alias->offset, spec);
}

void put_on_tape(std::shared_ptr<const Op> op, Context& context, std::span<const Tensor> inputs, std::span<const Tensor> outputs) {
  if (!context.grad_enabled() || !op->differentiable()) return;
  GradMask needs;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].requires_grad()) {
      if (i >= needs.size()) throw AutogradError("[" + std::string(op->name()) + "] more than 64 differentiable inputs");
      needs.set(i);
    }
  if (needs.none()) return;
  const int visible = op->visible_outputs();
  auto node = std::make_shared<Node>(std::move(op), inputs, outputs, needs, context.next_sequence());
  for (int i = 0; i < visible; ++i) {
    TensorImpl& impl = TapeAccess::impl(outputs[static_cast<size_t>(i)]);
    if (!is_floating(impl.spec.dtype)) continue;
    impl.node = node;
    impl.output_index = i;
  }
}

}  // namespace

std::vector<Tensor> Op::grad(const Node&, std::span<const Tensor>) const {
  throw AutogradError("[" + std::string(name()) + "] has no gradient");
}

Saves Op::saves(GradMask) const { return {GradMask().set(), GradMask().set()}; }

std::vector<Tensor> apply(Context& context, std::shared_ptr<const Op> op, std::span<const Tensor> inputs) {
  check_inputs(*op, context, inputs);
  if (!context.options().fusion)
    if (auto outputs = op->decompose(inputs); !outputs.empty()) return outputs;

  std::vector<Spec> in_specs;
  in_specs.reserve(inputs.size());
  for (const Tensor& input : inputs) in_specs.push_back(input.spec());
  const std::vector<Spec> out_specs = op->infer(in_specs);

  std::vector<Tensor> outputs;
  std::vector<std::optional<Alias>> aliases;
  bool runs = out_specs.empty();
  for (size_t i = 0; i < out_specs.size(); ++i) {
    aliases.push_back(op->alias(static_cast<int>(i), in_specs));
    outputs.push_back(make_output(*op, context, out_specs[i], aliases.back(), inputs));
    runs |= !aliases.back() || aliases.back()->writes;
  }
  if (runs) {
    const size_t scratch_bytes = op->workspace(in_specs, context);
    std::optional<Storage> scratch;
    if (scratch_bytes > 0) scratch.emplace(context, scratch_bytes, "workspace");
    Launch launch{context, inputs, outputs,
                  {scratch ? static_cast<std::byte*>(scratch->data()) : nullptr, scratch_bytes}};
    if (Recorder* recorder = context.recorder()) {
      recorder->run(*op, launch);
      recorder->record({op, inputs, outputs, aliases, scratch_bytes});
    } else {
      op->run(launch);
    }
  }
  put_on_tape(std::move(op), context, inputs, outputs);
  return outputs;
}

std::vector<Tensor> apply(std::shared_ptr<const Op> op, std::span<const Tensor> inputs) {
  if (inputs.empty() || !inputs[0].defined()) throw ShapeError("[" + std::string(op->name()) + "] input 0 is undefined");
  Context& context = inputs[0].context();
  return apply(context, std::move(op), inputs);
}

Tensor apply_one(std::shared_ptr<const Op> op, std::initializer_list<Tensor> inputs) {
  return apply(std::move(op), std::span(inputs.begin(), inputs.size()))[0];
}

void throw_shape(std::string_view op, const std::string& what) { throw ShapeError("[" + std::string(op) + "] " + what); }
void throw_dtype(std::string_view op, const std::string& what) { throw DTypeError("[" + std::string(op) + "] " + what); }

}  // namespace tern
