// Files of tensors and of scores, for the programs of this folder.
#pragma once

#include <fstream>
#include <iomanip>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "predictor.h"

namespace pinfm {

// What Python's torch.save wrote: a dictionary of tensors.
inline Tensors read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path))
    throw Error(path + " can't be read; give a file that torch.save wrote.");
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  Tensors tensors;
  try {
    for (const auto& entry : torch::jit::pickle_load(bytes).toGenericDict())
      tensors.emplace(entry.key().toStringRef(), entry.value().toTensor());
  } catch (const std::exception&) {
    throw Error(path + " holds no dictionary of tensors; write it with torch.save.");
  }
  return tensors;
}

// A line a row: the item, and a value of each column.
inline void write(const std::string& path, const at::Tensor& item_ids, bool are_unsigned, const Tensors& columns) {
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
  if (!file.flush()) throw Error(path + " can't be written; give another path.");
}

}  // namespace pinfm
