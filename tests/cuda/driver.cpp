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

void run_quadratic(Arguments& a, std::ofstream& out) {
    varpro::cuda::QuadraticLaunch call{};
    call.images = a.array("images");
    call.index = a.integers("index");
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
    call.columns = a.integers("columns");
    call.lambda = a.array("lambda"), call.diagonal = a.array("diagonal");
    call.problems = a.number("problems"), call.m = a.number("m"), call.i = a.number("i"), call.k = a.number("k");
    call.gram_is_float = a.number("gram_is_float"), call.h_is_float = a.number("h_is_float");
    const Output h(call.problems * call.m * call.m * (call.h_is_float ? 4 : 8));
    call.h = h.bytes.get();
    varpro::cuda::assemble(call, nullptr);
    h.append_to(out);
}

void run_bilinear(Arguments& a, std::ofstream& out) {
    varpro::cuda::BilinearLaunch call{};
    call.images = a.array("images");
    call.index = a.integers("index");
    call.w = a.array("w");
    call.problems = a.number("problems"), call.n = a.number("n"), call.units = a.number("units");
    call.height = a.number("height"), call.width = a.number("width");
    call.pixel = static_cast<varpro::Pixel>(a.number("pixel"));
    call.w_is_float = a.number("w_is_float"), call.d_is_float = a.number("d_is_float");
    call.logistic = a.number("logistic");
    const std::int64_t images = call.problems * call.n, rows = call.height + call.width + 1;
    const Output phi(images * (call.units + 1) * (call.w_is_float ? 4 : 8));
    const Output d(a.number("with_d") ? images * rows * call.units * (call.d_is_float ? 4 : 8) : 0);
    call.phi = phi.bytes.get();
    call.d = d.size > 0 ? d.bytes.get() : nullptr;
    varpro::cuda::bilinear(call, nullptr);
    phi.append_to(out);
    d.append_to(out);
}

void run_packed(Arguments& a, std::ofstream& out) {
    varpro::cuda::PackedLaunch call{};
    call.images = a.array("images");
    call.index = a.integers("index");
    call.problems = a.number("problems"), call.n = a.number("n"), call.planes = a.number("planes");
    call.side = a.number("side");
    call.pixel = static_cast<varpro::Pixel>(a.number("pixel"));
    call.out_is_float = a.number("out_is_float");
    const std::int64_t entries = call.planes * call.side * (call.side + 1) / 2;
    const Output packed(call.problems * call.n * entries * (call.out_is_float ? 4 : 8));
    call.out = packed.bytes.get();
    varpro::cuda::packed(call, nullptr);
    packed.append_to(out);
}

void run_activate(Arguments& a, std::ofstream& out) {
    varpro::cuda::ActivateLaunch call{};
    call.problems = a.number("problems"), call.n = a.number("n"), call.units = a.number("units");
    call.is_float = a.number("is_float"), call.logistic = a.number("logistic");
    const std::int64_t size = call.problems * call.n * (call.units + 1) * (call.is_float ? 4 : 8);
    call.phi = a.array("phi", a.number("shift"));
    call.bias = a.array("bias");
    varpro::cuda::activate(call, nullptr);
    out.write(static_cast<const char*>(call.phi), size);
}

void run_jacobian_products(Arguments& a, std::ofstream& out) {
    varpro::cuda::JacobianProductsLaunch call{};
    call.problems = a.number("problems"), call.n = a.number("n"), call.m = a.number("m");
    call.rank = a.number("rank"), call.k = a.number("k"), call.d_is_float = a.number("d_is_float");
    call.d = a.array("d", a.number("shift")), call.u = a.doubles("u"), call.r = a.doubles("r");
    const Output z(8 * call.problems * call.rank * call.m), g(8 * call.problems * call.m * call.k);
    const Output workspace(a.has("no_workspace") ? 0 : varpro::cuda::jacobian_products_workspace(call));
    call.z = z.as<double>(), call.g = g.as<double>();
    call.workspace = workspace.size > 0 ? workspace.bytes.get() : nullptr;
    varpro::cuda::jacobian_products(call, nullptr);
    z.append_to(out);
    g.append_to(out);
}

void run(const std::string& kernel, Arguments& arguments, std::ofstream& out) {
    if (kernel == "quadratic") return run_quadratic(arguments, out);
    if (kernel == "assemble") return run_assemble(arguments, out);
    if (kernel == "bilinear") return run_bilinear(arguments, out);
    if (kernel == "packed") return run_packed(arguments, out);
    if (kernel == "activate") return run_activate(arguments, out);
    if (kernel == "jacobian_products") return run_jacobian_products(arguments, out);
    const Output numbers(4 * arguments.number("count"));
    run_shim_kernel(kernel, numbers.as<int>(), arguments.number("count"));
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
