// Arduino.h: the part of an Arduino core that exported projects use, over an emulated board's port.
#pragma once
#include <stddef.h>
#include <stdint.h>

class StandInSerial {
 public:
  void begin(unsigned long baud);
  int available();
  int read();
  size_t write(uint8_t byte);
  void print(const char *text);
  void print(char c);
  void print(long value);
  void print(int value) { print(static_cast<long>(value)); }
  void print(unsigned long value) { print(static_cast<long>(value)); }
  void print(unsigned value) { print(static_cast<long>(value)); }
  void print(double value, int digits = 2);
  void println();
  template <typename T>
  void println(T value) {
    print(value);
    println();
  }
};

extern StandInSerial Serial;
uint32_t micros();
void delay(unsigned long ms);
void setup();
void loop();
