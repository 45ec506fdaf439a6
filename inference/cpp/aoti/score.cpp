// pinfm_aoti_score MODEL INPUTS.pt SCORES.csv: as pinfm_score, by the compiled packages of the model.

#include <iostream>

#include "aoti_predictor.h"
#include "files.h"

int main(int count, char** words) {
  if (count != 4) {
    std::cerr << "usage: pinfm_aoti_score MODEL INPUTS.pt SCORES.csv\n";
    return 2;
  }
  try {
    const pinfm::AotiPredictor predictor(words[1]);
    const pinfm::Tensors inputs = pinfm::read(words[2]);
    pinfm::write(words[3], inputs.at("candidate_item_id"), predictor.unsigned_items(), predictor.score(inputs));
  } catch (const pinfm::Error& error) {
    std::cerr << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
