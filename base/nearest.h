/* What a mistyped word was meant to be. */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

#define NEAREST_TEXT 64 /* bytes of a text that is compared, its end included */

/* Optimal string alignment distance (insert, delete, replace, swap neighbours),
 * case ignored; texts of NEAREST_TEXT bytes and more are infinitely far. */
unsigned edit_distance(const char *a, const char *b);
/* The nearest of `count` texts when it is near enough to be a slip; else NULL. */
const char *nearest(const char *text, const char *const *candidates, size_t count);

#endif
