#include "../search.hpp"

#include "cpu.hpp"

using namespace varpro;

namespace {

/// The states (b, numbers) of float64, in place.
SearchNumbers* numbers(Doubles& states) { return reinterpret_cast<SearchNumbers*>(states.mutable_data()); }

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
    m.def("search_begin", [](const SearchRules& rules, Doubles& states, const Doubles& cost, const Doubles& terms,
                             const Doubles& size) {
        search_begin(rules, numbers(states), states.shape(0), cost.data(), terms.data(), size.data());
    });
    m.def("search_open", [](const SearchRules& rules, Doubles& states, const Doubles& gradient,
                            const Doubles& curvature, const py::object& natural) {
        SearchVectors at{};
        at.gradient = gradient.data(), at.curvature = curvature.data(), at.p = gradient.shape(1);
        at.natural = optional(natural);
        search_open(rules, numbers(states), states.shape(0), at);
    });
    m.def("search_look",
          [](const SearchRules& rules, Doubles& states, const Dense<std::int64_t>& rows, const Doubles& w,
             const py::object& natural, const Doubles& gradient, const Doubles& diagonal, const Doubles& step,
             const Dense<bool>& solved, const Doubles& predicted) {
              SearchVectors at{};
              at.w = w.data(), at.natural = optional(natural), at.gradient = gradient.data(),
              at.diagonal = diagonal.data(), at.step = step.data();
              at.p = step.shape(1);
              search_look(rules, numbers(states), rows.data(), rows.shape(0), at, solved.data(), predicted.data());
          });
    m.def("search_judge", [](const SearchRules& rules, Doubles& states, const Doubles& cost, const Doubles& terms) {
        search_judge(rules, numbers(states), states.shape(0), cost.data(), terms.data());
    });
}
