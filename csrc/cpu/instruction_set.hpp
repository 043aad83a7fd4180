/// Which variant of the kernels runs: the widest that this build has and this processor supports, or the one asked for.
#pragma once

namespace varpro {

enum class InstructionSet { baseline, avx2, avx512 };

/// Chosen when the module is imported, before any kernel is called.
extern InstructionSet instruction_set;

/// VARPRO_DISPATCH(kernel(arguments)) calls the variant that was chosen.
#ifdef VARPRO_X86_VARIANTS
#define VARPRO_DISPATCH(call)                                                               \
    (::varpro::instruction_set == ::varpro::InstructionSet::avx512 ? ::varpro::avx512::call \
     : ::varpro::instruction_set == ::varpro::InstructionSet::avx2 ? ::varpro::avx2::call   \
                                                                   : ::varpro::baseline::call)
#else
#define VARPRO_DISPATCH(call) ::varpro::baseline::call
#endif

}  // namespace varpro
