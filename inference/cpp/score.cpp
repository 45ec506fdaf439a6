// pinfm_score MODEL INPUTS.pt SCORES.csv [TRUST.csv]: scores a batch that Python kept, one line a candidate; where TRUST.csv
// is named, it gets one line an event.
//
//     torch.save(pinfm.inference.load("model").inputs(requests), "inputs.pt")

#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "predictor.h"

namespace {

pinfm::Tensors read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path))
    throw pinfm::Error(path + " can't be read; give a file that torch.save wrote.");
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  pinfm::Tensors tensors;
  try {
    for (const auto& entry : torch::jit::pickle_load(bytes).toGenericDict())
      tensors.emplace(entry.key().toStringRef(), entry.value().toTensor());
  } catch (const std::exception&) {
    throw pinfm::Error(path + " holds no dictionary of tensors; write it with torch.save.");
  }
  return tensors;
}

void write(const std::string& path, const at::Tensor& item_ids, bool are_unsigned, const pinfm::Tensors& columns) {
  std::ofstream file(path);
  file << "item_id" << std::setprecision(std::numeric_limits<float>::max_digits10);
  for (const auto& [name, values] : columns) file << ',' << name;
  for (int64_t row = 0; row < item_ids.numel(); ++row) {
    const int64_t id = item_ids.const_data_ptr<int64_t>()[row];
    file << '\n';
    if (are_unsigned) file << static_cast<uint64_t>(id);
    else file << id;
    for (const auto& [name, values] : columns) file << ',' << values.accessor<const float, 1>()[row];
  }
  file << '\n';
  if (!file.flush()) throw pinfm::Error(path + " can't be written; give another path.");
}

}  // namespace

int main(int count, char** words) {
  if (count != 4 && count != 5) {
    std::cerr << "usage: pinfm_score MODEL INPUTS.pt SCORES.csv [TRUST.csv]\n";
    return 2;
  }
  try {
    const pinfm::Predictor predictor(words[1]);
    const pinfm::Tensors inputs = read(words[2]);
    const pinfm::Tensors probabilities = predictor.score(inputs);
    write(words[3], inputs.at("candidate_item_id"), predictor.unsigned_items(), probabilities);
    if (count == 5)
      write(words[4], inputs.at("history_item_id"), predictor.unsigned_items(), {{"trust", predictor.trust(inputs)}});
  } catch (const pinfm::Error& error) {
    std::cerr << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
