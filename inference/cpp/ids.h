// Ids as a log writes them -> the int64 that a model takes (docs/data.md, "Ids and names"). Needs libtorch's headers.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include <c10/util/hash.h>

namespace pinfm {

// The first eight bytes of the SHA-1 of a text's UTF-8, without the spaces around it. Throws std::invalid_argument for
// a text of nothing, which is no id.
inline int64_t text_id(const std::string& text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string::npos) throw std::invalid_argument("an id must not be empty.");
  const std::string trimmed = text.substr(first, text.find_last_not_of(' ') + 1 - first);
  return static_cast<int64_t>(std::stoull(c10::sha1(trimmed).str().substr(0, 16), nullptr, 16));
}

// By two's complement.
inline int64_t unsigned_id(uint64_t id) { return static_cast<int64_t>(id); }

}  // namespace pinfm
