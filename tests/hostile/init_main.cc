// What `trustbridge-sentinel runtime-init` is, for tests that are no sentinel.
#include "sentinel/runtime/confined_init.h"

int main() {
  tb::sentinel::runtime::confined_init();
}
