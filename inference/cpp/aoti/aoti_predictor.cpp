#include "aoti_predictor.h"

#include <ATen/Context.h>
#include <ATen/Version.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace pinfm {
namespace {

namespace fs = std::filesystem;
using Package = torch::inductor::AOTIModelPackageLoader;

// The files that the folder lists, none of them changed.
std::set<std::string> checked(const fs::path& folder) {
  std::ifstream listed(folder / "crc32");
  if (!listed)
    throw Error(folder.string() + " holds no compiled packages; export the run with --format torchscript,aoti.");
  std::set<std::string> names;
  uint32_t crc32 = 0;
  for (std::string name; listed >> std::hex >> crc32 >> name; names.insert(name)) {
    if (std::error_code none; !fs::is_regular_file(folder / name, none))
      throw Error((folder / name).string() + " is missing; copy the whole model folder, or export the run again.");
    require_crc32(folder / name, crc32);
  }
  return names;
}

// As inference/aoti/cpu.py: ascending, what x86-64 processors have.
void require_capability(const std::string& compiled_for, const fs::path& what) {
  constexpr std::array<std::string_view, 3> levels{"DEFAULT", "AVX2", "AVX512"};
  const std::string here = at::get_cpu_capability();
  const auto wanted = std::find(levels.begin(), levels.end(), compiled_for);
  const auto found = std::find(levels.begin(), levels.end(), here);
  if (compiled_for != here && (wanted == levels.end() || found == levels.end() || wanted > found))
    throw Error(what.string() + " was compiled for processors with " + compiled_for + ", this one has " + here +
                "; export the run again on a machine like this one, or score with Predictor.");
}

std::unique_ptr<Package> loaded(const fs::path& folder, const std::set<std::string>& names, const std::string& name) {
  const std::string file = (folder / name).string();
  if (!names.contains(name)) return nullptr;
  try {
    require_capability(Package::load_metadata_from_package(file, "model").at("pinfm_cpu"), file);
    return std::make_unique<Package>(file);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(file + " can't be loaded (" + told(error) + "); export the run again.");
  }
}

std::vector<at::Tensor> tensors(const c10::Dict<c10::IValue, c10::IValue>& piece, const std::string& name) {
  return piece.contains(name) ? piece.at(name).toTensorVector() : std::vector<at::Tensor>{};
}

at::Tensor run(Package& package, const at::Tensor& first, std::vector<at::Tensor> others) {
  others.insert(others.begin(), first);
  return package.run(others).at(0);
}

}  // namespace

AotiPredictor::AotiPredictor(const fs::path& model) : predictor_(model) {
  const fs::path folder = model / "aoti";
  const std::set<std::string> names = checked(folder);
  encode_ = loaded(folder, names, "encode.pt2");
  cross_ = loaded(folder, names, "cross.pt2");
  rank_ = loaded(folder, names, "rank.pt2");
  if (!rank_ || !encode_ != !cross_)
    throw Error((folder / "crc32").string() + " lists no whole model; copy the whole folder, or export the run again.");
  pieces_ = torch::jit::load((folder / "pieces.pt").string());
}

Tensors AotiPredictor::score(const Tensors& inputs) const {
  c10::Dict<std::string, at::Tensor> looked_up;
  for (const auto& [name, tensor] : predictor_.looked_up(inputs)) looked_up.insert(name, tensor);
  const std::vector<std::string> tasks = predictor_.tasks();
  const c10::InferenceMode no_gradients;
  const at::Tensor scores = at::zeros({looked_up.at("item").size(0), static_cast<int64_t>(tasks.size())});
  at::Tensor kept;
  const c10::IValue pieces = pieces_.get_method("forward")({looked_up});
  for (const c10::IValue& value : pieces.toListRef()) {
    const c10::Dict<c10::IValue, c10::IValue> piece = value.toGenericDict();
    const std::vector<at::Tensor> places = tensors(piece, "places");
    at::Tensor tower = at::zeros({places[0].size(0), 0});
    if (encode_) {
      // A piece without histories asks more of those of the piece before it.
      if (const std::vector<at::Tensor> histories = tensors(piece, "encode"); !histories.empty())
        kept = encode_->run(histories).at(0);
      tower = run(*cross_, kept, tensors(piece, "cross")).flatten(0, 1).index_select(0, places[0]);
    }
    scores.index_copy_(0, places[1], run(*rank_, tower, tensors(piece, "rank")));
  }
  Tensors probabilities;
  for (size_t task = 0; task < tasks.size(); ++task)
    probabilities.emplace(tasks[task], scores.select(1, static_cast<int64_t>(task)));
  return probabilities;
}

}  // namespace pinfm
