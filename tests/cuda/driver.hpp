/// What the parts of the driver share: arrays from files, outputs in allocations of their size.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

using Bytes = std::unique_ptr<unsigned char[]>;

struct Arguments {
    std::map<std::string, std::string> values;
    std::vector<Bytes> held;

    std::int64_t number(const std::string& key) const { return std::stoll(values.at(key)); }
    double real(const std::string& key) const { return std::stod(values.at(key)); }
    bool has(const std::string& key) const { return values.contains(key); }

    /// shift: bytes by which the array begins past an address of sixteen.
    unsigned char* array(const std::string& key, std::int64_t shift = 0) {
        if (!has(key)) return nullptr;
        std::ifstream file(values.at(key), std::ios::binary);
        const std::string content{std::istreambuf_iterator<char>(file), {}};
        held.push_back(std::make_unique<unsigned char[]>(content.size() + shift));
        std::memcpy(held.back().get() + shift, content.data(), content.size());
        return held.back().get() + shift;
    }
    const double* doubles(const std::string& key) { return reinterpret_cast<const double*>(array(key)); }
    const std::int32_t* integers(const std::string& key) { return reinterpret_cast<const std::int32_t*>(array(key)); }
};

struct Output {
    Bytes bytes;
    std::size_t size = 0;

    explicit Output(std::int64_t size_) : bytes(std::make_unique<unsigned char[]>(size_)), size(size_) {
        std::memset(bytes.get(), 0xCD, size);
    }
    template <typename T>
    T* as() const {
        return reinterpret_cast<T*>(bytes.get());
    }
    void append_to(std::ofstream& file) const { file.write(reinterpret_cast<const char*>(bytes.get()), size); }
};

/// Runs one of the kernels on convolutional units; false for any other name.
bool run_convolve(const std::string& kernel, Arguments& arguments, std::ofstream& out);

/// Runs one of the kernels of varpro.losses; false for any other name.
bool run_losses(const std::string& kernel, Arguments& arguments, std::ofstream& out);

/// Runs a kernel of small problems; false for any other name.
bool run_small_fits(const std::string& kernel, Arguments& arguments, std::ofstream& out);
