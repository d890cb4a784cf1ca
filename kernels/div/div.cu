#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void div(Launch& launch) { map_binary(launch, "div", formula::Div{}); }
void div_number(Launch& launch, double number) { map_number(launch, "div_number", formula::Div{}, number); }
void number_div(Launch& launch, double number) { map_number(launch, "number_div", formula::Reversed<formula::Div>{}, number); }

}  // namespace tern::cuda
