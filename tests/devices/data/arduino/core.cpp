// core.cpp: the stand-in of an Arduino core. The board's port is compiled with names of its own.
#include "Arduino.h"

extern "C" {
void board_init(void);
int board_getc(void);
void board_putc(uint8_t byte);
uint32_t board_timestamp_us(void);
}

StandInSerial Serial;
static int next = -1;

void StandInSerial::begin(unsigned long) {}

int StandInSerial::available() {
  if (next < 0) {
    next = board_getc();
  }
  return next < 0 ? 0 : 1;
}

int StandInSerial::read() {
  int byte = available() ? next : -1;
  next = -1;
  return byte;
}

size_t StandInSerial::write(uint8_t byte) {
  board_putc(byte);
  return 1;
}

void StandInSerial::print(char c) { board_putc(static_cast<uint8_t>(c)); }

void StandInSerial::print(const char *text) {
  while (*text) {
    print(*text++);
  }
}

void StandInSerial::print(long value) {
  if (value < 0) {
    print('-');
    value = -value;
  }
  if (value >= 10) {
    print(value / 10);
  }
  print(static_cast<char>('0' + value % 10));
}

void StandInSerial::print(double value, int digits) {
  if (value < 0) {
    print('-');
    value = -value;
  }
  print(static_cast<long>(value));
  print('.');
  for (; digits > 0; digits--) {
    value = (value - static_cast<long>(value)) * 10;
    print(static_cast<char>('0' + static_cast<int>(value)));
  }
}

void StandInSerial::println() { print("\r\n"); }

uint32_t micros() { return board_timestamp_us(); }

void delay(unsigned long ms) {
  uint32_t start = micros();
  while (micros() - start < ms * 1000u) {
  }
}

extern "C" int main() {
  board_init();
  setup();
  for (;;) {
    loop();
  }
}
