// Calls while exceptions fly, from templates, members, lambdas and destructors.
#include <unistd.h>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace shapes {
struct Guard {
    std::string name;
    ~Guard() { (void)!write(1, name.data(), name.size()); }
};

template <typename T> __attribute__((noinline)) int emit(T value) {
    std::string text = std::to_string(value) + "\n";
    return static_cast<int>(write(1, text.data(), text.size()));
}

class Base {
  public:
    virtual ~Base() = default;
    virtual int run(int depth) = 0;
};

class Thrower : public Base {
  public:
    int run(int depth) override {
        Guard guard{"guard\n"};
        if (depth == 0)
            throw std::runtime_error("bottom");
        int result = run(depth - 1);
        return result + emit(depth);
    }
};
} // namespace shapes

int main() {
    shapes::Thrower thrower;
    try {
        thrower.run(3);
    } catch (const std::exception &error) {
        shapes::emit(4.5);
        (void)!write(1, error.what(), 6);
    }
    std::function<int(int)> lambda = [&](int value) { return shapes::emit(value) + getppid(); };
    std::vector<int> values{1, 2};
    for (int value : values)
        lambda(value);
    return 0;
}
