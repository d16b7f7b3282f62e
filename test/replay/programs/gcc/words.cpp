#include <iostream>
#include <map>
#include <string>
#include <unordered_map>
int main() {
  std::unordered_map<std::string, int> counts;
  for (std::string word; std::cin >> word;) counts[word]++;
  std::multimap<int, std::string> order;
  for (auto &[word, count] : counts) order.emplace(-count, word);
  for (auto &[count, word] : order) std::cout << -count << ' ' << word << '\n';
}
