// Scores requests with a model folder that `pinfm export` wrote. It needs libtorch and zlib: no Python, no fbgemm.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
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

// What was found for U requests.
struct Found {
  at::Tensor lengths;         // (U,) int64, items of each; fewer than wanted where no more were left
  at::Tensor item_ids;        // (N,) int64, best first
  at::Tensor inner_products;  // (N,) float32
};

// What the model is to know of the items found: `candidate_created_at` and its other inputs of candidates, (N,) each.
using Features = std::function<Tensors(const Found&)>;

struct Recommended {
  Found found;
  Tensors probabilities;  // (N,) float32 a task
};

// A loaded model. Calls may overlap; tables that stand apart are mapped, so that processes share their pages.
class Predictor {
 public:
  // Loads MODEL/scoring.pt and places the files of MODEL/tables. Throws Error where a file is missing, can't be read,
  // was changed after its export, or lies outside the folder, or where MODEL/index is of another model.
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

  // The histories, encoded once for any number of calls below; `inputs` may hold no more than `history_*`.
  c10::IValue encode(const Tensors& inputs) const;

  // As `score` above, of candidates against encoded histories: bit for bit the same.
  Tensors score(const c10::IValue& encoded, const Tensors& inputs) const;

  // The k items of MODEL/index that each user is nearest to, but for those of the history (docs/retrieval.md). `inputs`
  // holds `request_timestamp`, and where wanted `exclude_item_id` with `exclude_lengths`, and `filter_ATTRIBUTE` with
  // `filter_ATTRIBUTE_lengths`. Throws Error where there is no index, or as `score` does.
  Found retrieve(const c10::IValue& encoded, const Tensors& inputs, int64_t k) const;

  // `encode`, `retrieve`, and `score` of what was found. `inputs` holds histories and the model's inputs of requests.
  Recommended recommend(const Tensors& inputs, int64_t k, const Features& features) const;

  // Whether the log's item ids are unsigned, so that they have to be shown as such.
  bool unsigned_items() const;

 private:
  c10::IValue called(const std::string& method, const Tensors& inputs) const;
  c10::IValue called(const std::string& method, const c10::IValue& encoded, const Tensors& inputs) const;
  c10::IValue called(const std::string& method, std::vector<c10::IValue> given) const;

  torch::jit::Module module_;
  std::optional<torch::jit::Module> index_;
};

// Throws Error where a file of a model folder is not the one that was written.
void require_crc32(const std::filesystem::path& file, uint32_t crc32);

// One line of what libtorch says.
std::string told(const std::exception& error);

}  // namespace pinfm
