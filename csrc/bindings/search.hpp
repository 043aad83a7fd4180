/// The rules of a search cross the boundary by name.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "../kernels/search.hpp"

namespace varpro {

/// The rules of search.hpp: all of them and nothing else, or a ValueError that names the one that is missing.
inline SearchRules search_rules(const pybind11::dict& given) {
    SearchRules rules{};
    std::size_t count = 0;
#define VARPRO_RULE(name)                                                                 \
    if (!given.contains(#name)) throw pybind11::value_error("rule " #name " is missing"); \
    rules.name = given[#name].cast<double>();                                             \
    ++count;
    VARPRO_SEARCH_RULES(VARPRO_RULE)
#undef VARPRO_RULE
    if (given.size() != count)
        throw pybind11::value_error(std::to_string(given.size()) + " rules are given; there are " +
                                    std::to_string(count));
    return rules;
}

}  // namespace varpro
