// pinfm_recommend MODEL INPUTS.pt ITEMS.pt FOUND.csv K: retrieves K items for each request and ranks them, its history
// encoded once. One line an item: the request, the item, its inner product, and a probability a task.
//
// ITEMS.pt stands for the host's own store of items: `candidate_item_id`, ascending, and the model's other inputs of
// candidates in the same order.

#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <limits>
#include <string>

#include "predictor.h"
#include "files.h"

namespace {

void write(const std::string& path, const pinfm::Recommended& ranked, bool are_unsigned) {
  std::ofstream file(path);
  file << "request,item_id,inner_product" << std::setprecision(std::numeric_limits<float>::max_digits10);
  for (const auto& [task, values] : ranked.probabilities) file << ',' << task;
  const auto lengths = ranked.found.lengths.accessor<const int64_t, 1>();
  const auto ids = ranked.found.item_ids.accessor<const int64_t, 1>();
  const auto products = ranked.found.inner_products.accessor<const float, 1>();
  int64_t row = 0;
  for (int64_t request = 0; request < lengths.size(0); ++request)
    for (int64_t last = row + lengths[request]; row < last; ++row) {
      file << '\n' << request << ',';
      if (are_unsigned) file << static_cast<uint64_t>(ids[row]);
      else file << ids[row];
      file << ',' << products[row];
      for (const auto& [task, values] : ranked.probabilities) file << ',' << values.accessor<const float, 1>()[row];
    }
  file << '\n';
  if (!file.flush()) throw pinfm::Error(path + " can't be written; give another path.");
}

}  // namespace

int main(int count, char** words) {
  if (count != 6) {
    std::cerr << "usage: pinfm_recommend MODEL INPUTS.pt ITEMS.pt FOUND.csv K\n";
    return 2;
  }
  try {
    const pinfm::Predictor predictor(words[1]);
    const pinfm::Tensors inputs = pinfm::read(words[2]), items = pinfm::read(words[3]);
    const auto features = [&](const pinfm::Found& found) {
      const at::Tensor rows = at::searchsorted(items.at("candidate_item_id"), found.item_ids);
      pinfm::Tensors told;
      for (const auto& [name, values] : items) told[name] = values.index_select(0, rows);
      return told;
    };
    write(words[4], predictor.recommend(inputs, std::atoll(words[5]), features), predictor.unsigned_items());
  } catch (const pinfm::Error& error) {
    std::cerr << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
