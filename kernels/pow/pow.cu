#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void pow(Launch& launch) { map_binary(launch, "pow", formula::Pow{}); }
void pow_by_base(Launch& launch) { map_binary(launch, "pow_by_base", formula::PowByBase{}); }
void pow_by_exponent(Launch& launch) { map_binary(launch, "pow_by_exponent", formula::PowByExponent{}); }
void pow_number(Launch& launch, double number) { map_number(launch, "pow_number", formula::PowNumber{}, number); }

}  // namespace tern::cuda
