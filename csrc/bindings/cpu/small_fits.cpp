#include "../../kernels/small_fits.hpp"

#include <tuple>
#include <utility>

#include "../search.hpp"
#include "cpu.hpp"

using namespace varpro;

namespace {

/// Distance between the rows of two problems; 0 if all share one.
std::int64_t stride(const py::object& array, py::ssize_t n) {
    return array.is_none() || array.cast<Doubles>().shape(0) == 1 ? 0 : n;
}

/// Two arrays of bounds, or none: the first and the second.
std::pair<const double*, const double*> both(const py::object& bounds) {
    if (bounds.is_none()) return {nullptr, nullptr};
    const py::tuple pair = bounds;
    return {pair[0].cast<Doubles>().data(), pair[1].cast<Doubles>().data()};
}

SearchBox box_of(const py::object& bounds) {
    const auto [lower, upper] = both(bounds);
    return {lower, upper};
}

/// (source, factor, offset) of a program's parameters, or none; offset has a row for each problem, or one for all.
ProgramLinks links_of(const py::object& links) {
    if (links.is_none()) return {};
    const py::tuple parts = links;
    const auto offset = parts[2].cast<Doubles>();
    return {parts[0].cast<Dense<std::int32_t>>().data(), parts[1].cast<Doubles>().data(), offset.data(),
            stride(offset, offset.shape(1))};
}

/// The data of small problems; outputs are the caller's to fill in.
SmallFitsCall small_call(const Dense<std::int32_t>& program, const py::object& spans, const py::object& links,
                         const py::object& t, const py::object& phi, const py::object& d, const Doubles& y,
                         const py::object& weights, const Dense<std::int64_t>& problems,
                         const Dense<std::int32_t>& columns, const Dense<std::int32_t>& parameters,
                         std::int64_t n_columns, std::int64_t n_parameters, double ridge, bool kaufman,
                         const py::object& limits, std::int64_t parts = 1) {
    static_assert(sizeof(ProgramColumn) == 4 * sizeof(std::int32_t));
    const py::ssize_t n = y.shape(1), k = y.shape(2);
    SmallFitsCall call{};
    call.program = reinterpret_cast<const ProgramColumn*>(program.data());
    if (!spans.is_none()) call.spans = spans.cast<Dense<std::int64_t>>().data();
    call.links = links_of(links);
    call.t = optional(t);
    call.phi = optional(phi);
    call.d = optional(d);
    call.y = y.data();
    call.weights = optional(weights);
    call.problems = problems.data();
    call.columns = columns.data();
    call.parameters = parameters.data();
    call.count = problems.shape(0);
    call.n = n;
    call.i = n_columns;
    call.k = k;
    call.m = columns.shape(0);
    call.p = n_parameters;
    call.parts = parts;
    call.t_stride = stride(t, n / parts);
    call.y_stride = n * k;
    call.weights_stride = stride(weights, n);
    call.ridge = ridge;
    call.kaufman = kaufman;
    call.derivatives = true;
    std::tie(call.lower, call.upper) = both(limits);
    return call;
}

}  // namespace

void bind_small_fits(py::module_& m) {
    m.def("small_fits",
          [](const Dense<std::int32_t>& program, py::object spans, py::object links, py::object t, const Doubles& w,
             py::object phi, py::object d, const Doubles& y, py::object weights, const Dense<std::int64_t>& problems,
             const Dense<std::int32_t>& columns, const Dense<std::int32_t>& parameters, Doubles& a, Doubles& cost,
             Doubles& terms, Doubles& h, Doubles& gradient, Doubles& natural, Doubles& condition, double ridge,
             bool kaufman, bool derivatives, py::object limits, std::int64_t parts) {
              SmallFitsCall call = small_call(program, spans, links, t, phi, d, y, weights, problems, columns,
                                              parameters, a.shape(1), w.shape(1), ridge, kaufman, limits, parts);
              call.w = w.data();
              call.a = a.mutable_data();
              call.cost = cost.mutable_data();
              call.terms = terms.mutable_data();
              call.h = h.mutable_data();
              call.gradient = gradient.mutable_data();
              call.natural = natural.mutable_data();
              call.condition = condition.mutable_data();
              call.derivatives = derivatives;
              py::gil_scoped_release free;
              VARPRO_DISPATCH(small_fits(call));
          });
    m.attr("gram_limit") = kGramLimit;
    m.def("small_advance", [](const Doubles& phi, const Doubles& d, const Doubles& y, py::object weights,
                              const Dense<std::int64_t>& problems, const Dense<std::int32_t>& columns,
                              const Dense<std::int32_t>& parameters, Doubles& states, const Dense<std::int64_t>& rows,
                              std::int64_t n_parameters, const SearchRules& rules, double ridge, bool kaufman,
                              py::object limits, py::object box) {
        const SmallAdvanceCall call{small_call({}, py::none(), py::none(), py::none(), phi, d, y, weights, problems,
                                               columns, parameters, phi.shape(2), n_parameters, ridge, kaufman, limits),
                                    rules,
                                    box_of(box),
                                    states.mutable_data(),
                                    rows.data(),
                                    states.shape(1)};
        py::gil_scoped_release free;
        VARPRO_DISPATCH(small_advance(call));
    });
    m.def("small_secants",
          [](py::object phi, py::object d, const Doubles& y, const Dense<std::int64_t>& problems,
             const Dense<std::int32_t>& columns, const Dense<std::int32_t>& parameters, Doubles& states,
             const Dense<std::int64_t>& rows, std::int64_t n_parameters, const SearchRules& rules, double ridge,
             bool kaufman, Doubles& past_phi, Doubles& slopes, Doubles& before, Doubles& rough) {
              SmallFitsCall fits =
                  small_call({}, py::none(), py::none(), py::none(), phi, d, y, py::none(), problems, columns,
                             parameters, past_phi.shape(1), n_parameters, ridge, kaufman, py::none());
              fits.derivatives = fits.d != nullptr;
              const SmallSecantCall call{
                  {fits, rules, {nullptr, nullptr}, states.mutable_data(), rows.data(), states.shape(1)},
                  past_phi.mutable_data(),
                  slopes.mutable_data(),
                  before.mutable_data(),
                  rough.mutable_data()};
              py::gil_scoped_release free;
              VARPRO_DISPATCH(small_secants(call));
          });
    m.def("small_differences", [](const py::array& up, const py::array& base, const Dense<std::int64_t>& rows,
                                  const Dense<std::int64_t>& columns, const Dense<std::int64_t>& places,
                                  const Doubles& inverse, py::array& d) {
        const auto doubles = [](const py::array& a) { return static_cast<const double*>(a.data()); };
        const py::ssize_t item = up.itemsize();
        const SmallDifferencesCall call{doubles(up),
                                        doubles(base),
                                        inverse.data(),
                                        rows.data(),
                                        columns.data(),
                                        places.data(),
                                        static_cast<double*>(d.mutable_data()),
                                        up.shape(0),
                                        up.shape(1),
                                        up.shape(2),
                                        columns.shape(0),
                                        d.shape(1),
                                        item / static_cast<py::ssize_t>(sizeof(double)),
                                        {base.strides(0) / item, base.strides(1) / item, base.strides(2) / item}};
        py::gil_scoped_release free;
        return VARPRO_DISPATCH(small_differences(call));
    });
    m.def("small_searches", [](const Dense<std::int32_t>& program, py::object spans, py::object links, const Doubles& t,
                               const Doubles& y, py::object weights, const Dense<std::int64_t>& problems,
                               const Dense<std::int32_t>& columns, const Dense<std::int32_t>& parameters,
                               Doubles& states, std::int64_t n_parameters, const SearchRules& rules, double ridge,
                               bool kaufman, py::object limits, py::object box, std::int64_t parts, Doubles& log) {
        std::int64_t logged = 0;
        const SmallSearchCall call{
            small_call(program, spans, links, t, py::none(), py::none(), y, weights, problems, columns, parameters,
                       program.shape(0) * parts, n_parameters, ridge, kaufman, limits, parts),
            rules,
            box_of(box),
            states.mutable_data(),
            states.shape(1),
            log.shape(0) ? reinterpret_cast<SearchNumbers*>(log.mutable_data()) : nullptr,
            log.shape(0),
            &logged};
        {
            py::gil_scoped_release free;
            VARPRO_DISPATCH(small_searches(call));
        }
        return logged;
    });
}
