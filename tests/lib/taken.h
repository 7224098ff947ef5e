/* A fuzz target's seed must still be what it was made for: the target says that it took the input, and the replay of
 * the corpus fails for a seed that it did not take, unless the seed's name begins with "bad-". So no seed stays behind
 * unnoticed when its format changes. */
#ifndef TESTS_LIB_TAKEN_H
#define TESTS_LIB_TAKEN_H

#include <stdbool.h>

/* Set by the target when a decoder took the whole input; cleared by the replay before each. */
extern bool fuzz_taken;

#endif
