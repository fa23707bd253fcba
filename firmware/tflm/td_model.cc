// td_model.cc: the `tflm` engine: td_model.h over TFLite-Micro's interpreter.
//
// model_*.h and model_data.cc are the bundle's; td_build.h says how many inputs and outputs there
// are. A model that does not allocate leaves no inputs, which the protocol reports as `config`.
#define TD_MODEL_CONST  // addresses are known only once the interpreter has placed the tensors

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <new>

#include "model_arena.h"
#include "model_data.h"
#include "model_ops.h"
#include "td_build.h"
#include "td_model.h"
#include "td_profile.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

#ifdef TD_PROFILE_LAYERS
#include "tensorflow/lite/micro/micro_profiler_interface.h"
#endif

extern "C" {
alignas(16) uint8_t td_arena[kTensorArenaBytes];
struct td_io td_model_inputs[TD_INPUT_COUNT];
struct td_io td_model_outputs[TD_OUTPUT_COUNT];
uint8_t td_model_input_count;
uint8_t td_model_output_count;
uint32_t td_model_arena_bytes;
}

namespace {

// The firmware has no heap, no constructors before main and no destructors: objects live in static
// memory, from the first td_model_init on.
alignas(ModelOpResolver) uint8_t resolver_place[sizeof(ModelOpResolver)];
alignas(tflite::MicroInterpreter) uint8_t interpreter_place[sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter* interpreter;

#ifdef TD_PROFILE_LAYERS
// Marks each operator; TFLite-Micro runs them in the model's order.
class LayerMarks final : public tflite::MicroProfilerInterface {
 public:
  uint32_t BeginEvent(const char*) override {
    td_profile_mark(next_ < TD_PROFILE_LAYERS ? next_++ : TD_PROFILE_NONE);
    return 0;
  }
  void EndEvent(uint32_t) override { td_profile_mark(TD_PROFILE_NONE); }
  void Restart() { next_ = 0; }

 private:
  uint32_t next_ = 0;
};

alignas(LayerMarks) uint8_t marks_place[sizeof(LayerMarks)];
LayerMarks* marks;
#endif

uint8_t Dtype(TfLiteType type) {
  switch (type) {
    case kTfLiteInt8:
      return TD_INT8;
    case kTfLiteInt16:
      return TD_INT16;
    case kTfLiteInt32:
      return TD_INT32;
    case kTfLiteInt64:
      return TD_INT64;
    case kTfLiteUInt8:
      return TD_UINT8;
    case kTfLiteBool:
      return TD_BOOL;
    default:
      return TD_FLOAT32;
  }
}

td_io Describe(const TfLiteTensor* tensor) {
  return {tensor->data.raw, static_cast<uint32_t>(tensor->bytes), Dtype(tensor->type)};
}

tflite::MicroInterpreter* Make(const ModelOpResolver& resolver) {
  const tflite::Model* model = tflite::GetModel(g_model_data);
#ifdef TD_PROFILE_LAYERS
  marks = new (marks_place) LayerMarks;
  return new (interpreter_place) tflite::MicroInterpreter(
      model, resolver, td_arena, sizeof td_arena, nullptr, marks);
#else
  return new (interpreter_place)
      tflite::MicroInterpreter(model, resolver, td_arena, sizeof td_arena);
#endif
}

void Start() {
  ModelOpResolver* resolver = new (resolver_place) ModelOpResolver;
  if (AddModelOps(*resolver) != kTfLiteOk) {
    return;
  }
  interpreter = Make(*resolver);
  if (interpreter->AllocateTensors() != kTfLiteOk ||
      interpreter->inputs_size() != TD_INPUT_COUNT ||
      interpreter->outputs_size() != TD_OUTPUT_COUNT) {
    return;
  }
  for (size_t i = 0; i < TD_INPUT_COUNT; i++) {
    td_model_inputs[i] = Describe(interpreter->input(i));
  }
  for (size_t i = 0; i < TD_OUTPUT_COUNT; i++) {
    td_model_outputs[i] = Describe(interpreter->output(i));
  }
  td_model_input_count = TD_INPUT_COUNT;
  td_model_output_count = TD_OUTPUT_COUNT;
  td_model_arena_bytes = static_cast<uint32_t>(interpreter->arena_used_bytes());
}

}  // namespace

extern "C" void td_model_init(void) {
  if (interpreter == nullptr) {
    Start();
  } else {
    interpreter->Reset();
  }
}

extern "C" void td_model_invoke(void) {
#ifdef TD_PROFILE_LAYERS
  marks->Restart();
#endif
  if (interpreter->Invoke() != kTfLiteOk) {
    __builtin_trap();  // reported as a fault: there is no output to send
  }
}

// What TFLite-Micro calls besides: it may say nothing, since the line carries the protocol.
extern "C" void DebugLog(const char*, va_list) {}
extern "C" int DebugVsnprintf(char* buffer, size_t bytes, const char*, va_list) {
  if (bytes > 0) {
    buffer[0] = '\0';
  }
  return 0;
}

#ifdef __arm__
extern "C" void abort(void) { __builtin_trap(); }
void operator delete(void*) noexcept {}
void operator delete(void*, size_t) noexcept {}
#endif
