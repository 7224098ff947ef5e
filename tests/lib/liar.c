/* liar: a node that lies, for tests. The real node, with a few functions wrapped
 * by the linker (--wrap), so that the product has no hook for it:
 *
 *   liar --mode key ...    deals a wrong sub-share to member 1, and answers its complaint wrongly too
 *   liar --mode share ...  gives shares of another point than it should
 *   liar --mode time ...   its clock is an hour ahead, and it does not hold back from leading
 *
 * The other arguments are consiliumd's.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "consensus/driver.h"
#include "crypto/dkg.h"
#include "crypto/tdh2.h"

#define HOUR_MS 3600000

static bool lies_key, lies_share, lies_time;

void __real_dkg_subshare(struct scalar *out, const struct dkg_polynomial *polynomial, uint32_t node);
void __wrap_dkg_subshare(struct scalar *out, const struct dkg_polynomial *polynomial, uint32_t node);
void __real_tdh2_share_point(struct point *d, const struct scalar *x, const struct point *u);
void __wrap_tdh2_share_point(struct point *d, const struct scalar *x, const struct point *u);
uint64_t __real_clock_wall_ms(void);
uint64_t __wrap_clock_wall_ms(void);
void __real_driver_set_clock_ok(struct driver *d, bool ok);
void __wrap_driver_set_clock_ok(struct driver *d, bool ok);
int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);

/* Wrong for one receiver: member 1. (The liar of the tests is another one.) */
void __wrap_dkg_subshare(struct scalar *out, const struct dkg_polynomial *polynomial, uint32_t node)
{
    __real_dkg_subshare(out, polynomial, node);
    if (!lies_key || node != 1) return;
    struct scalar one = scalar_from_uint(1);
    scalar_add(out, out, &one);
}

void __wrap_tdh2_share_point(struct point *d, const struct scalar *x, const struct point *u)
{
    __real_tdh2_share_point(d, x, u);
    if (lies_share) point_add(d, d, &POINT_GENERATOR);
}

uint64_t __wrap_clock_wall_ms(void) { return __real_clock_wall_ms() + (lies_time ? HOUR_MS : 0); }

void __wrap_driver_set_clock_ok(struct driver *d, bool ok)
{
    if (!lies_time) __real_driver_set_clock_ok(d, ok);
}

int __wrap_main(int argc, char **argv)
{
    if (argc < 3 || strcmp(argv[1], "--mode") != 0) {
        fprintf(stderr, "usage: liar --mode key|share|time run ...\n");
        return 2;
    }
    lies_key = strcmp(argv[2], "key") == 0;
    lies_share = strcmp(argv[2], "share") == 0;
    lies_time = strcmp(argv[2], "time") == 0;
    if (!lies_key && !lies_share && !lies_time) {
        fprintf(stderr, "liar: no such mode: %s\n", argv[2]);
        return 2;
    }
    argv[2] = argv[0];
    return __real_main(argc - 2, argv + 2);
}
