#include "predictor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

namespace pinfm {
namespace {

namespace fs = std::filesystem;

// One of the module's `table_files`.
struct TableFile {
  std::string name, file;
  int64_t rows, columns;
  at::ScalarType dtype;
  int64_t crc32;
};

at::ScalarType dtype_of(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "float16") return at::kHalf;
  if (name == "uint8") return at::kByte;
  if (name == "int8") return at::kChar;
  if (name == "int32") return at::kInt;
  if (name == "int64") return at::kLong;
  throw Error("a table has values of type " + name + ", which this predictor does not know; build the newest one.");
}

std::vector<TableFile> table_files(const torch::jit::Module& module) {
  if (!module.hasattr("table_files"))
    throw Error("the model was exported by an older pinfm, which did not list its tables; export the run again.");
  std::vector<TableFile> files;
  for (const c10::IValue& value : module.attr("table_files").toListRef()) {
    const std::vector<c10::IValue> parts = value.toTupleRef().elements().vec();
    files.push_back({parts[0].toStringRef(), parts[1].toStringRef(), parts[2].toInt(), parts[3].toInt(),
                     dtype_of(parts[4].toStringRef()), parts[5].toInt()});
  }
  return files;
}

uint32_t crc32_of(const void* data, size_t size) {
  constexpr size_t most = 1 << 30;  // zlib counts in 32 bits
  uLong sum = ::crc32(0, nullptr, 0);
  for (size_t first = 0; first < size; first += most)
    sum = ::crc32(sum, static_cast<const Bytef*>(data) + first, static_cast<uInt>(std::min(most, size - first)));
  return static_cast<uint32_t>(sum);
}

// A file of the model folder: whatever else a scoring.pt names is not opened.
fs::path inside(const fs::path& folder, const std::string& file) {
  std::error_code failed, also_failed;
  const fs::path root = fs::weakly_canonical(folder, failed), path = fs::weakly_canonical(folder / file, also_failed);
  const auto end = std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first;
  if (failed || also_failed || end != root.end())
    throw Error("scoring.pt names a table (" + file + ") outside the model folder; load only models that you trust.");
  return path;
}

size_t bytes_of(const TableFile& table) {
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  const auto width = static_cast<int64_t>(c10::elementSize(table.dtype));
  if (table.rows < 0 || table.columns < 0 || (table.columns > 0 && table.rows > most / table.columns / width))
    throw Error("scoring.pt names a table (" + table.file + ") of an impossible size; export the run again.");
  return static_cast<size_t>(table.rows * table.columns * width);
}

// The file's values, read where they are looked up; unmapped with the tensor's last owner.
at::Tensor mapped(const fs::path& path, const TableFile& table) {
  if (std::error_code none; !fs::is_regular_file(path, none))
    throw Error(path.string() + " is missing; copy the whole model folder, or export the run again.");
  const size_t size = fs::file_size(path);
  const size_t wanted = bytes_of(table);
  if (size != wanted)
    throw Error(path.string() + " has " + std::to_string(size) + " bytes, not " + std::to_string(wanted) +
                "; copy the whole model folder, or export the run again.");
  if (size == 0) return at::empty({table.rows, table.columns}, table.dtype);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Error(path.string() + " can't be opened: " + std::strerror(errno) + ".");
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  ::close(descriptor);
  if (memory == MAP_FAILED) throw Error(path.string() + " can't be mapped: " + std::strerror(errno) + ".");
  const auto rows = torch::from_blob(
      memory, {table.rows, table.columns}, [size](void* data) { ::munmap(data, size); }, table.dtype);
  if (crc32_of(memory, size) != table.crc32)
    throw Error(path.string() + " was changed after its export (CRC-32 differs); copy the model folder again.");
  return rows;
}

c10::Dict<std::string, at::Tensor> dictionary(const Tensors& inputs) {
  c10::Dict<std::string, at::Tensor> given;
  for (const auto& [name, tensor] : inputs) given.insert(name, tensor);
  return given;
}

Tensors tensors_of(const c10::IValue& dictionary) {
  Tensors tensors;
  for (const auto& entry : dictionary.toGenericDict())
    tensors.emplace(entry.key().toStringRef(), entry.value().toTensor());
  return tensors;
}

uint32_t stated_crc32(const fs::path& file) {
  std::ifstream stated(file);
  uint32_t crc32 = 0;
  if (!(stated >> std::hex >> crc32))
    throw Error(file.string() + " is missing or no checksum; copy the whole model folder, or export the run again.");
  return crc32;
}

// libtorch reads weights without a look at the checksums that a TorchScript file has of them.
void require_unchanged(const fs::path& file, const fs::path& crc32_file) {
  require_crc32(file, stated_crc32(crc32_file));
}

torch::jit::Module loaded(const fs::path& file, const fs::path& crc32_file) {
  if (std::error_code none; !fs::is_regular_file(file, none))
    throw Error(file.string() + " is missing; give a folder that `pinfm export` wrote.");
  require_unchanged(file, crc32_file);
  try {
    return torch::jit::load(file.string());
  } catch (const std::exception& error) {
    throw Error(file.string() + " can't be loaded (" + told(error) + "); export the run again.");
  }
}

// Gives a module the files that it names.
void place_tables(torch::jit::Module& module, const fs::path& folder) {
  const std::vector<TableFile> files = table_files(module);
  const torch::jit::Method place = module.get_method("place");
  for (const TableFile& table : files) place({table.name, mapped(inside(folder, table.file), table)});
}

}  // namespace

void require_crc32(const fs::path& file, uint32_t crc32) {
  std::ifstream bytes(file, std::ios::binary);
  std::vector<char> part(1 << 20);
  uLong sum = ::crc32(0, nullptr, 0);
  while (bytes.read(part.data(), part.size()) || bytes.gcount() > 0)
    sum = ::crc32(sum, reinterpret_cast<const Bytef*>(part.data()), static_cast<uInt>(bytes.gcount()));
  if (!bytes.eof()) throw Error(file.string() + " can't be read to its end; look at its permissions and its disk.");
  if (sum != crc32)
    throw Error(file.string() + " was changed after its export (CRC-32 differs); copy the model folder again.");
}

// The last line, which names the error where TorchScript tells the way to it.
std::string told(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  std::string text = of_torch ? of_torch->what_without_backtrace() : error.what();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  text.erase(0, text.rfind('\n') + 1);
  // Of the module's own checks, whose sentence says all.
  constexpr std::string_view kind = "builtins.ValueError: ";
  return text.starts_with(kind) ? text.substr(kind.size()) : text;
}

Predictor::Predictor(const fs::path& model) : module_(loaded(model / "scoring.pt", model / "scoring.crc32")) {
  place_tables(module_, model);
  const fs::path index = model / "index";
  if (std::error_code none; !fs::is_directory(index, none)) return;
  if (!fs::is_regular_file(index / "index.pt"))
    throw Error(index.string() + " is no exact index, which is what C++ searches; make it again with `pinfm index "
                "--index-kind exact`, or take it away.");
  index_ = loaded(index / "index.pt", index / "index.crc32");
  if (index_->attr("model_crc32").toInt() != stated_crc32(model / "scoring.crc32"))
    throw Error(index.string() + " is of another scoring.pt than " + model.string() +
                " has, so its vectors are not this model's; make it again with `pinfm index`.");
  place_tables(*index_, index);
}

bool Predictor::unsigned_items() const {
  return module_.hasattr("item_ids") && module_.attr("item_ids").toStringRef() == "uint64";
}

Tensors Predictor::score(const Tensors& inputs) const { return tensors_of(called("forward", inputs)); }

Tensors Predictor::looked_up(const Tensors& inputs) const { return tensors_of(called("looked_up", inputs)); }

std::vector<std::string> Predictor::tasks() const {
  std::vector<std::string> names;
  for (const c10::IValue& name : module_.attr("tasks").toListRef()) names.push_back(name.toStringRef());
  return names;
}

c10::IValue Predictor::encode(const Tensors& inputs) const { return called("encode", inputs); }

Tensors Predictor::score(const c10::IValue& encoded, const Tensors& inputs) const {
  return tensors_of(called("score_encoded", encoded, inputs));
}

Found Predictor::retrieve(const c10::IValue& encoded, const Tensors& inputs, int64_t k) const {
  if (!index_) throw Error("the model has no index; make one with `pinfm index MODEL --items ITEMS.parquet`.");
  const at::Tensor users = called("user_vectors", encoded, inputs).toTensor();
  // The histories as they were given: the first part of an encoding (inference/encoded.py).
  const auto& history = encoded.toTupleRef().elements()[0].toTupleRef().elements();
  torch::jit::Module index = *index_;
  const c10::InferenceMode no_gradients;
  try {
    const auto found = index.get_method("forward")({users, history[0], history[1], dictionary(inputs), k}).toTuple();
    const auto& parts = found->elements();
    return {parts[0].toTensor(), parts[1].toTensor(), parts[2].toTensor()};
  } catch (const std::exception& error) {
    throw Error("the index can't be searched: " + told(error));
  }
}

Recommended Predictor::recommend(const Tensors& inputs, int64_t k, const Features& features) const {
  const c10::IValue encoded = encode(inputs);
  Found found = retrieve(encoded, inputs, k);
  Tensors asked = inputs;
  for (auto& [name, values] : features(found)) asked[name] = values;
  asked["candidate_lengths"] = found.lengths;
  asked["candidate_item_id"] = found.item_ids;
  return {found, score(encoded, asked)};
}

at::Tensor Predictor::trust(const Tensors& inputs) const { return called("trust", inputs).toTensor(); }

c10::IValue Predictor::called(const std::string& method, const Tensors& inputs) const {
  return called(method, std::vector<c10::IValue>{dictionary(inputs)});
}

c10::IValue Predictor::called(const std::string& method, const c10::IValue& encoded, const Tensors& inputs) const {
  return called(method, std::vector<c10::IValue>{encoded, dictionary(inputs)});
}

c10::IValue Predictor::called(const std::string& method, std::vector<c10::IValue> given) const {
  if (!module_.find_method(method))
    throw Error("the model was exported by an older pinfm, which has no " + method + "; export the run again.");
  const c10::InferenceMode no_gradients;
  try {
    return module_.get_method(method)(std::move(given));
  } catch (const std::exception& error) {  // TorchScript throws what its operations throw, of several types
    throw Error("the inputs can't be scored: " + told(error));
  }
}

}  // namespace pinfm
