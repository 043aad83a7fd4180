// The decision of a search, of varpro._cpu.
#include "search.hpp"

#include <pybind11/numpy.h>

namespace py = pybind11;
using namespace varpro;

template <typename T>
using Dense = py::array_t<T, py::array::c_style>;

namespace {

/// The states (b, numbers) of float64, in place.
SearchNumbers* numbers(Dense<double>& states) { return reinterpret_cast<SearchNumbers*>(states.mutable_data()); }

const double* optional(const py::object& array) {
    return array.is_none() ? nullptr : array.cast<Dense<double>>().data();
}

}  // namespace

void bind_search(py::module_& m) {
    py::list rules, names;
#define VARPRO_NAME(name) rules.append(#name);
    VARPRO_SEARCH_RULES(VARPRO_NAME)
#undef VARPRO_NAME
#define VARPRO_NAME(name) names.append(#name);
    VARPRO_SEARCH_NUMBERS(VARPRO_NAME)
#undef VARPRO_NAME
    m.attr("search_rules") = py::tuple(rules);
    m.attr("search_numbers") = py::tuple(names);
    py::class_<SearchRules>(m, "SearchRules", py::module_local()).def(py::init([](const py::kwargs& given) {
        return search_rules(given);
    }));
    m.def("search_begin", [](const SearchRules& rules, Dense<double>& states, const Dense<double>& cost,
                             const Dense<double>& terms, const Dense<double>& size) {
        search_begin(rules, numbers(states), states.shape(0), cost.data(), terms.data(), size.data());
    });
    m.def("search_open", [](const SearchRules& rules, Dense<double>& states, const Dense<double>& gradient,
                            const Dense<double>& curvature, const py::object& natural) {
        SearchVectors at{};
        at.gradient = gradient.data(), at.curvature = curvature.data(), at.p = gradient.shape(1);
        at.natural = optional(natural);
        search_open(rules, numbers(states), states.shape(0), at);
    });
    m.def("search_look",
          [](const SearchRules& rules, Dense<double>& states, const Dense<std::int64_t>& rows, const Dense<double>& w,
             const py::object& natural, const Dense<double>& gradient, const Dense<double>& diagonal,
             const Dense<double>& step, const Dense<bool>& solved, const Dense<double>& predicted) {
              SearchVectors at{};
              at.w = w.data(), at.natural = optional(natural), at.gradient = gradient.data(),
              at.diagonal = diagonal.data(), at.step = step.data();
              at.p = step.shape(1);
              search_look(rules, numbers(states), rows.data(), rows.shape(0), at, solved.data(), predicted.data());
          });
    m.def("search_judge",
          [](const SearchRules& rules, Dense<double>& states, const Dense<double>& cost, const Dense<double>& terms) {
              search_judge(rules, numbers(states), states.shape(0), cost.data(), terms.data());
          });
}
