// Scores requests with a model folder that `pinfm export` wrote. It needs libtorch and zlib: no Python, no fbgemm.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <torch/script.h>

namespace pinfm {

using Tensors = std::map<std::string, at::Tensor>;

// What the caller can mend, in one sentence.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A loaded model. Calls of `score` may overlap; tables that stand apart are mapped, so that processes share their pages.
class Predictor {
 public:
  // Loads MODEL/scoring.pt and places the files of MODEL/tables. Throws Error where a file is missing, can't be read,
  // was changed after its export, or lies outside the folder.
  explicit Predictor(const std::filesystem::path& model);

  // A probability (N,) float32 a task, for inputs as MODEL/signature.json lists them: jagged over U requests, histories
  // oldest first and no longer than its `max_history`, ids as int64 (ids.h makes them of text and of unsigned ones),
  // actions and surfaces as codes (0 = unknown). Throws Error where an input is missing, of another type or size, or
  // holds a value that Python refuses too, such as NaN, a time in milliseconds, or an event out of order.
  Tensors score(const Tensors& inputs) const;

  // How far each event is trusted, (T,) float32 in [0, 1]. Throws Error as `score` does, and where the model was not
  // exported with `--adapt trust`.
  at::Tensor trust(const Tensors& inputs) const;

  // What the dense model reads of the inputs, checked and looked up, for one that is computed elsewhere (aoti/). Throws
  // Error as `score` does.
  Tensors looked_up(const Tensors& inputs) const;

  // The names of what `score` gives.
  std::vector<std::string> tasks() const;

  // Whether the log's item ids are unsigned, so that they have to be shown as such.
  bool unsigned_items() const;

 private:
  c10::IValue called(const std::string& method, const Tensors& inputs) const;

  torch::jit::Module module_;
};

// Throws Error where a file of a model folder is not the one that was written.
void require_crc32(const std::filesystem::path& file, uint32_t crc32);

// One line of what libtorch says.
std::string told(const std::exception& error);

}  // namespace pinfm
