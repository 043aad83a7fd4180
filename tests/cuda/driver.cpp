// Runs one kernel through the host shim, once for each order, and appends what it wrote to a file.
//
//   driver KERNEL key=value ...        arrays are files of raw numbers, absent keys null pointers
//
// orders=0,1,5  order of threads and blocks for each run     drop=file:line  a barrier to leave out     out=file
// Every array lies in an allocation of exactly its size, so that the address sanitizer sees what runs past it.  Outputs
// begin as bytes 0xCD: a test sees what was not written.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../../csrc/cuda/host/cuda_host.hpp"
#include "../../csrc/cuda/launch.hpp"

/// Kernels that exercise the shim alone (shim_kernels.cu).
void run_shim_kernel(const std::string& name, int* out, std::size_t count);

namespace {

using Bytes = std::unique_ptr<unsigned char[]>;

struct Arguments {
    std::map<std::string, std::string> values;
    std::vector<Bytes> held;

    std::int64_t number(const std::string& key) const { return std::stoll(values.at(key)); }
    bool has(const std::string& key) const { return values.contains(key); }

    const void* array(const std::string& key) {
        if (!has(key)) return nullptr;
        std::ifstream file(values.at(key), std::ios::binary);
        const std::string content{std::istreambuf_iterator<char>(file), {}};
        held.push_back(std::make_unique<unsigned char[]>(content.size()));
        std::memcpy(held.back().get(), content.data(), content.size());
        return held.back().get();
    }
};

struct Output {
    Bytes bytes;
    std::size_t size = 0;

    explicit Output(std::int64_t size_) : bytes(std::make_unique<unsigned char[]>(size_)), size(size_) {
        std::memset(bytes.get(), 0xCD, size);
    }
    void append_to(std::ofstream& file) const { file.write(reinterpret_cast<const char*>(bytes.get()), size); }
};

void run_quadratic(Arguments& a, std::ofstream& out) {
    varpro::cuda::QuadraticLaunch call{};
    call.images = a.array("images");
    call.index = static_cast<const std::int32_t*>(a.array("index"));
    call.w = a.array("w");
    call.problems = a.number("problems"), call.n = a.number("n"), call.planes = a.number("planes");
    call.side = a.number("side"), call.units = a.number("units");
    call.pixel = static_cast<varpro::Pixel>(a.number("pixel"));
    call.w_is_float = a.number("w_is_float"), call.d_is_float = a.number("d_is_float");
    call.logistic = a.number("logistic");
    const std::int64_t images = call.problems * call.n, rows = call.side + (call.planes > 1 ? call.planes : 0) + 1;
    const Output phi(images * (call.units + 1) * (call.w_is_float ? 4 : 8));
    const Output d(a.number("with_d") ? images * rows * call.units * (call.d_is_float ? 4 : 8) : 0);
    call.phi = phi.bytes.get();
    call.d = d.size > 0 ? d.bytes.get() : nullptr;
    varpro::cuda::quadratic(call, nullptr);
    phi.append_to(out);
    d.append_to(out);
}

void run_assemble(Arguments& a, std::ofstream& out) {
    varpro::cuda::AssembleLaunch call{};
    call.gram = a.array("gram"), call.ztz = a.array("ztz");
    call.aat = a.array("aat"), call.gram_inverse = a.array("gram_inverse"), call.g = a.array("g");
    call.columns = static_cast<const std::int32_t*>(a.array("columns"));
    call.lambda = a.array("lambda"), call.diagonal = a.array("diagonal");
    call.problems = a.number("problems"), call.m = a.number("m"), call.i = a.number("i"), call.k = a.number("k");
    call.gram_is_float = a.number("gram_is_float"), call.h_is_float = a.number("h_is_float");
    const Output h(call.problems * call.m * call.m * (call.h_is_float ? 4 : 8));
    call.h = h.bytes.get();
    varpro::cuda::assemble(call, nullptr);
    h.append_to(out);
}

void run(const std::string& kernel, Arguments& arguments, std::ofstream& out) {
    if (kernel == "quadratic") return run_quadratic(arguments, out);
    if (kernel == "assemble") return run_assemble(arguments, out);
    const Output numbers(4 * arguments.number("count"));
    run_shim_kernel(kernel, reinterpret_cast<int*>(numbers.bytes.get()), arguments.number("count"));
    numbers.append_to(out);
}

}  // namespace

int main(int count, char** words) {
    Arguments arguments;
    for (int w = 2; w < count; ++w) {
        const std::string word = words[w];
        arguments.values[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    }
    std::ofstream out(arguments.values.at("out"), std::ios::binary);
    std::istringstream orders(arguments.values.at("orders"));
    cuda_host::settings.dropped = arguments.has("drop") ? arguments.values.at("drop") : "";
    try {
        for (std::string order; std::getline(orders, order, ',');) {
            cuda_host::settings.order = std::stoul(order);
            run(words[1], arguments, out);
        }
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return 3;
    }
    return out.good() ? 0 : 4;
}
