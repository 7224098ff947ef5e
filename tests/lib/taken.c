#include "tests/lib/taken.h"

bool fuzz_taken;
