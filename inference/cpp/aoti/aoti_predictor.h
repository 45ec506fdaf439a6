// Scores requests by the packages that `pinfm export --format torchscript,aoti` compiled, on processors like the one that
// compiled them.
#pragma once

#include <filesystem>
#include <memory>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include "predictor.h"

namespace pinfm {

// The dense model of MODEL/aoti behind the checks and tables of MODEL/scoring.pt. Calls of `score` may overlap; each
// package is at work for one of them at a time. Loading runs machine code of the folder: load only models that you trust.
class AotiPredictor {
 public:
  // Throws Error as Predictor does, and where there are no packages, one was changed after its export, or they were
  // compiled for another processor.
  explicit AotiPredictor(const std::filesystem::path& model);

  // What Predictor gives for the same inputs, to rounding; throws Error as it does.
  Tensors score(const Tensors& inputs) const;

  // See Predictor.
  bool unsigned_items() const { return predictor_.unsigned_items(); }

 private:
  using Package = torch::inductor::AOTIModelPackageLoader;

  Predictor predictor_;
  torch::jit::Module pieces_;
  std::unique_ptr<Package> encode_, cross_;  // none without a tower
  std::unique_ptr<Package> rank_;
};

}  // namespace pinfm
