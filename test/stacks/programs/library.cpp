// What threads, futures, function objects, virtual bases and exceptions of the standard library call.
#include <unistd.h>
#include <algorithm>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {
std::mutex guard;

struct Sink {
    virtual ~Sink() = default;
    virtual long put(const std::string &text) const = 0;
};

template <int N> struct Out : virtual Sink {
    long put(const std::string &text) const override {
        std::lock_guard<std::mutex> lock(guard);
        return write(N, text.data(), text.size());
    }
    long operator()(int value) const { return put(std::to_string(value) + "\n"); }
};

long sorted(std::vector<int> values, const Sink &sink) {
    std::sort(values.begin(), values.end(), [&](int one, int other) {
        if (one == 3)
            sink.put("compared\n");
        return one < other;
    });
    return values.front();
}

struct Deep {
    explicit Deep(int depth) {
        if (depth == 0)
            throw std::out_of_range("deep");
        inner = std::make_unique<Deep>(depth - 1);
    }
    ~Deep() { Out<1>().put("destroyed\n"); }
    std::unique_ptr<Deep> inner;
};
} // namespace

int main() {
    Out<1> out;
    std::thread([&] { out.put("thread\n"); }).join();
    auto later = std::async(std::launch::deferred, out, 7);
    long sum = later.get() + sorted({4, 3, 2, 1}, out);
    try {
        Deep deep(2);
        sum++;
    } catch (const std::logic_error &) {
        out.put("caught\n");
        try {
            throw;
        } catch (...) {
            out.put("again\n");
        }
    }
    return sum > 0 ? 0 : 1;
}
