// pinfm_score MODEL INPUTS.pt SCORES.csv [TRUST.csv]: scores a batch that Python kept, one line a candidate; where TRUST.csv
// is named, it gets one line an event.
//
//     torch.save(pinfm.inference.load("model").inputs(requests), "inputs.pt")

#include <iostream>

#include "files.h"
#include "predictor.h"

int main(int count, char** words) {
  if (count != 4 && count != 5) {
    std::cerr << "usage: pinfm_score MODEL INPUTS.pt SCORES.csv [TRUST.csv]\n";
    return 2;
  }
  try {
    const pinfm::Predictor predictor(words[1]);
    const pinfm::Tensors inputs = pinfm::read(words[2]);
    const pinfm::Tensors probabilities = predictor.score(inputs);
    pinfm::write(words[3], inputs.at("candidate_item_id"), predictor.unsigned_items(), probabilities);
    if (count == 5)
      pinfm::write(words[4], inputs.at("history_item_id"), predictor.unsigned_items(), {{"trust", predictor.trust(inputs)}});
  } catch (const pinfm::Error& error) {
    std::cerr << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
