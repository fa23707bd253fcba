// Stub for a test, see README.md.
#pragma once
#include <cstddef>
#include <cstdint>

#include "stub_sizes.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/micro_profiler_interface.h"
#include "tensorflow/lite/schema/schema_generated.h"

enum TfLiteType {
  kTfLiteFloat32 = 1,
  kTfLiteInt32 = 2,
  kTfLiteUInt8 = 3,
  kTfLiteInt64 = 4,
  kTfLiteBool = 6,
  kTfLiteInt16 = 7,
  kTfLiteInt8 = 9,
};

struct TfLiteTensor {
  TfLiteType type;
  union {
    char* raw;
  } data;
  std::size_t bytes;
};

namespace tflite {
class MicroResourceVariables;

class MicroInterpreter {
 public:
  MicroInterpreter(const Model* model, const MicroOpResolver& resolver, std::uint8_t* arena,
                   std::size_t arena_bytes, MicroResourceVariables* variables = nullptr,
                   MicroProfilerInterface* profiler = nullptr);

  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteStatus Reset() { return kTfLiteOk; }
  std::size_t inputs_size() const { return 1; }
  std::size_t outputs_size() const { return 1; }
  TfLiteTensor* input(std::size_t) { return &input_; }
  const TfLiteTensor* output(std::size_t) { return &output_; }
  std::size_t arena_used_bytes() const { return kStubArenaBytes; }

 private:
  const MicroOpResolver& resolver_;
  std::uint8_t* arena_;
  std::size_t arena_bytes_;
  MicroProfilerInterface* profiler_;
  TfLiteTensor input_;
  TfLiteTensor output_;
};
}  // namespace tflite
