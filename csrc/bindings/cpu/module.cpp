// varpro._cpu: the compiled kernels for NumPy arrays.  No defaults and no mathematics here; the Python entry points
// check.
#include <cstdlib>
#include <string>
#include <vector>

#include "../../cpu/blas.hpp"
#include "cpu.hpp"

using namespace varpro;

InstructionSet varpro::instruction_set = InstructionSet::baseline;

namespace {

template <typename F>
F* capsule(const py::dict& api, const char* name) {
    const py::capsule held = api[name].cast<py::capsule>();
    return reinterpret_cast<F*>(held.get_pointer());
}

void load_blas() {
    const py::dict b = py::module_::import("scipy.linalg.cython_blas").attr("__pyx_capi__");
    const py::dict l = py::module_::import("scipy.linalg.cython_lapack").attr("__pyx_capi__");
    blas::table = {capsule<blas::Gemm>(b, "dgemm"),        capsule<blas::Syrk>(b, "dsyrk"),
                   capsule<blas::SyrkFloat>(b, "ssyrk"),   capsule<blas::Trsm>(b, "dtrsm"),
                   capsule<blas::Potrf>(l, "dpotrf"),      capsule<blas::Potrs>(l, "dpotrs"),
                   capsule<blas::Trtri>(l, "dtrtri"),      capsule<blas::Symv>(b, "dsymv"),
                   capsule<blas::PotrfFloat>(l, "spotrf"), capsule<blas::PotrsFloat>(l, "spotrs")};
}

struct Variant {
    std::string name;
    InstructionSet set;
};

/// The variants that this build has and this processor runs, the widest last.
std::vector<Variant> variants() {
    std::vector<Variant> found{{"baseline", InstructionSet::baseline}};
#ifdef VARPRO_X86_VARIANTS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found.push_back({"avx2", InstructionSet::avx2});
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        found.push_back({"avx512", InstructionSet::avx512});
#endif
    return found;
}

/// The widest variant, or the one that VARPRO_INSTRUCTION_SET names.
Variant choose(const std::vector<Variant>& all) {
    const char* const wanted = std::getenv("VARPRO_INSTRUCTION_SET");
    if (!wanted || !*wanted) return all.back();
    std::string names;
    for (const Variant& one : all) {
        if (one.name == wanted) return one;
        names += (names.empty() ? "" : ", ") + one.name;
    }
    throw py::import_error(std::string("VARPRO_INSTRUCTION_SET=") + wanted + ": this build on this processor has " +
                           names + "; unset it to take the last");
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
    m.doc() = "Compiled CPU kernels of varpro; contracts in csrc/kernels.";
    load_blas();
    const std::vector<Variant> all = variants();
    const Variant chosen = choose(all);
    instruction_set = chosen.set;
    py::tuple names(all.size());
    for (std::size_t k = 0; k < all.size(); ++k) names[k] = all[k].name;
    m.attr("instruction_sets") = names;
    m.attr("instruction_set") = chosen.name;
    bind_class_moments(m);
    bind_convolve(m);
    bind_few_rows(m);
    bind_gauss_newton(m);
    bind_gram(m);
    bind_inward_scale(m);
    bind_projector(m);
    bind_scalarize(m);
    bind_search(m);
    bind_small_fits(m);
    bind_softmax_divergence(m);
}
