// The hash of embeddings/hashing.py as a C++ host would write it: unsigned arithmetic, no torch.
//
// Usage: hash_rows NUM_HASHES SEED NUM_ROWS < ids, one a line; prints NUM_HASHES rows a line.
#include <cstdint>
#include <cstdlib>
#include <iostream>

static uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

int main(int, char** argv) {
  const uint64_t num_hashes = std::strtoull(argv[1], nullptr, 10);
  const uint64_t seed = std::strtoull(argv[2], nullptr, 10);
  const uint64_t num_rows = std::strtoull(argv[3], nullptr, 10);
  const auto key = [&](uint64_t k) { return mix64((seed * 2 * num_hashes + k + 1) * 0x9E3779B97F4A7C15ULL); };
  for (int64_t id; std::cin >> id;) {
    for (uint64_t k = 0; k < num_hashes; ++k) {
      const uint64_t mixed = mix64(mix64(static_cast<uint64_t>(id) ^ key(2 * k)) + key(2 * k + 1));
      std::cout << (mixed & 0x7FFFFFFFFFFFFFFFULL) % num_rows << (k + 1 < num_hashes ? ' ' : '\n');
    }
  }
}
