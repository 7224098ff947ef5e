#include "base/nearest.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

static unsigned least_of(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

unsigned edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n >= NEAREST_TEXT || m >= NEAREST_TEXT) return UINT_MAX;
    unsigned rows[3][NEAREST_TEXT + 1]; /* two rows back, one back, this */
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            now[j] = least_of(last[j] + 1, now[j - 1] + 1, last[j - 1] + (x != y));
            bool swapped = i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                           y == tolower((unsigned char)a[i - 2]);
            if (swapped && before[j - 2] + 1 < now[j]) now[j] = before[j - 2] + 1;
        }
        unsigned *spare = before;
        before = last, last = now, now = spare;
    }
    return last[m];
}

const char *nearest(const char *text, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    unsigned least = UINT_MAX;
    for (size_t i = 0; i < count; i++) {
        unsigned d = edit_distance(text, candidates[i]);
        if (d < least) least = d, best = candidates[i];
    }
    size_t size = strlen(text);
    unsigned allowed = size <= 3 ? 1 : size <= 6 ? 2 : 3;
    return least <= allowed ? best : NULL;
}
