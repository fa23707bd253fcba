// Stub for a test, see README.md.
#pragma once
#include "tensorflow/lite/micro/kernels/conv.h"
