// Stub for a test: checks what it is given; "inference" writes the model's bytes to stdout.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "model_data.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

struct TfLiteTensor {
  union {
    char* raw;
  } data;
  std::size_t bytes;
};

namespace tflite {
class MicroInterpreter {
 public:
  MicroInterpreter(const Model* model, const MicroOpResolver& resolver, std::uint8_t* arena,
                   std::size_t arena_bytes)
      : model_(model), resolver_(resolver), arena_(arena), arena_bytes_(arena_bytes) {}

  TfLiteStatus AllocateTensors() {
    const bool aligned = reinterpret_cast<std::uintptr_t>(arena_) % 16 == 0;
    return aligned && resolver_.count > 0 && arena_bytes_ > 0 ? kTfLiteOk : kTfLiteError;
  }

  TfLiteStatus Invoke() {
    return std::fwrite(model_, 1, g_model_data_bytes, stdout) == g_model_data_bytes ? kTfLiteOk
                                                                                  : kTfLiteError;
  }

  std::size_t inputs_size() const { return 1; }
  std::size_t outputs_size() const { return 1; }
  TfLiteTensor* input(std::size_t) { return &tensor_; }
  TfLiteTensor* output(std::size_t) { return &tensor_; }
  std::size_t arena_used_bytes() const { return arena_bytes_; }

 private:
  const Model* model_;
  const MicroOpResolver& resolver_;
  std::uint8_t* arena_;
  std::size_t arena_bytes_;
  char buffer_[8] = {};
  TfLiteTensor tensor_ = {{buffer_}, sizeof(buffer_)};
};
}  // namespace tflite
