#include "kernels/conv2d/conv_plans.h"

#include "core/error.h"
#include "kernels/conv2d/conv2d_job.h"
#include "tests/catch.h"

namespace tern {
namespace {

ConvJob job() {
  return {
      .pass = ConvPass::dgrad,
      .dtype = DType::f16,
      .shape = conv_shape("test", {128, 32, 31, 6}, {64, 3, 5, 3}, {.stride = {2, 1}, .padding = {1, 0}, .groups = 2})};
}

std::string message_of(ConvPlans& plans, const std::string& text) {
  try {
    plans.load(text);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("conv plans: a key names all that a plan depends on", "[conv2d]") {
  CHECK(job().key(true) ==
        "conv2d_dgrad f16 x 128,32,31,6 w 64,3,5,3 stride 2,1 padding 1,0 dilation 1,1 groups 2 bias 0 tf32 1");
  CHECK(job().key(true) != job().key(false));
}

TEST_CASE("conv plans: text goes there and back", "[conv2d]") {
  ConvPlans plans("9.19.0", "NVIDIA H200");
  plans.set(job().key(false), {.engine = 38, .knobs = {{2, 17}, {13, -1}}});
  plans.set("b", {.fused_bias = true, .engine = 0, .knobs = {{1, 2}}});
  plans.set("a", {.own = true});
  const std::string text = plans.text();
  CHECK(text == "tern conv plans 1\ncudnn 9.19.0\ngpu NVIDIA H200\na = own\nb = engine 0 bias 1:2\n" +
                    job().key(false) + " = engine 38 2:17 13:-1\n");
  ConvPlans again("9.19.0", "NVIDIA H200");
  again.set("a", {.engine = 5});
  again.load(text);
  CHECK(again.size() == 3);
  CHECK(*again.find(job().key(false)) == *plans.find(job().key(false)));
  CHECK(*again.find("b") == *plans.find("b"));
  CHECK(again.find("a")->engine == 5);  // chosen before: may be in use
  CHECK(again.find("c") == nullptr);
}

TEST_CASE("conv plans: another library or GPU, and damaged text, are refused whole", "[conv2d]") {
  ConvPlans plans("9.19.0", "NVIDIA H200");
  const std::string head = "tern conv plans 1\ncudnn 9.19.0\ngpu NVIDIA H200\n";
  CHECK(message_of(plans, head).empty());
  CHECK(message_of(plans, "tern conv plans 1\ncudnn 9.10.2\ngpu NVIDIA H200\n").find("cudnn 9.10.2") !=
        std::string::npos);
  CHECK(message_of(plans, "tern conv plans 1\ncudnn 9.19.0\ngpu NVIDIA A100\n").find("gpu NVIDIA H200") !=
        std::string::npos);
  for (const char* row : {"a", "a = ", "a = engine", "a = engine x", "a = engine -1", "a = engine 1 2",
                          "a = engine 1 2:", "a = engine 1 2:3 bias", "a = own 1", "a = engine 1  2:3"}) {
    INFO(row);
    CHECK(message_of(plans, head + "b = own\n" + row + "\n").find("line 5") != std::string::npos);
  }
  CHECK(message_of(plans, head + "b = own\nb = own\n").find("line 5") != std::string::npos);
  CHECK(message_of(plans, "").find("line 1") != std::string::npos);
  CHECK(plans.size() == 0);
}

TEST_CASE("conv plans: a context on the CPU has none, and refuses a GPU's", "[conv2d]") {
  Context context;
  CHECK(context.extension<ConvPlans>().text() == "tern conv plans 1\ncudnn none\ngpu none\n");
  CHECK_THROWS_AS(context.extension<ConvPlans>().load("tern conv plans 1\ncudnn 9.19.0\ngpu NVIDIA H200\n"), DataError);
}

}  // namespace
}  // namespace tern
