/* ledger/FORMAT.md has every action and every reason with its number and words: it is what other
 * implementations are written from. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "ledger/action.h"
#include "ledger/operation.h"

static char *page;

static void is_there(unsigned number, const char *text)
{
    char row[256];
    snprintf(row, sizeof row, "\n| %u | %s |", number, text);
    if (!strstr(page, row)) fail_msg("ledger/FORMAT.md has no row \"%s\"", row + 1);
}

static void every_action_is_there(void **state)
{
    (void)state;
#define X(name, number, text, actor) is_there(number, text);
    ACTION_LIST(X)
#undef X
}

static void every_reason_is_there(void **state)
{
    (void)state;
#define X(name, number, text) is_there(number, (number) ? text : "none");
    REASON_LIST(X)
#undef X
}

static void every_purpose_is_there(void **state)
{
    (void)state;
#define X(name, number, code, text)                                                                \
    if (number) {                                                                                  \
        char entry[64];                                                                            \
        snprintf(entry, sizeof entry, " %u %s", (unsigned)(number), code);                         \
        if (!strstr(page, entry)) fail_msg("ledger/FORMAT.md has no purpose \"%s\"", entry + 1);   \
    }
    PURPOSE_LIST(X)
#undef X
}

static int begin(void **state)
{
    (void)state;
    FILE *f = fopen("ledger/FORMAT.md", "r");
    if (!f) return -1;
    page = calloc(1, 1 << 20);
    size_t size = page ? fread(page, 1, (1 << 20) - 1, f) : 0;
    fclose(f);
    return size > 0 ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    free(page);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_action_is_there),
        cmocka_unit_test(every_reason_is_there),
        cmocka_unit_test(every_purpose_is_there),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
