// pinfm_text_ids < TEXTS: the int64 of each line's text, to compare a host's own hash with.

#include <iostream>
#include <string>

#include "ids.h"

int main() {
  try {
    for (std::string text; std::getline(std::cin, text);) std::cout << pinfm::text_id(text) << '\n';
  } catch (const std::invalid_argument& error) {
    std::cerr << error.what() << '\n';
    return 2;
  }
  return 0;
}
