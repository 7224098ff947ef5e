/* A ledger with a few people, what they ask, and the answers by row and field. */
#ifndef TESTS_UNIT_LEDGER_BED_QUERY_H
#define TESTS_UNIT_LEDGER_BED_QUERY_H

#include "tests/lib/unit.h"

#include "base/pack.h"
#include "ledger/attachment.h"
#include "ledger/query.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})

struct page {
    uint32_t count;
    struct bytes rows[LIMIT_EXAMINED > 1024 ? 1024 : LIMIT_EXAMINED];
    uint8_t cursor[16];
    size_t cursor_size;
    uint64_t left_out;
};

struct world {
    struct kit kit;
    struct kit_actor doctor, nurse, patient, auditor, privacy, registrar;
    struct buffer content;
    struct page page;
};

/* An approved answer's rows and cursor, which point into it. */
void read_page(struct page *page, const struct ledger_result *r);
struct bytes cursor_of(const struct page *page);
/* Field `n` of a row, as a cursor at it. */
struct unpack field(struct bytes row, unsigned n);
uint64_t field_uint(struct bytes row, unsigned n);
struct id field_id(struct bytes row, unsigned n);
bool field_is(struct bytes row, unsigned n, const char *text);
struct bytes field_bin(struct bytes row, unsigned n);

void open_world(struct world *w);
void close_world(struct world *w);
/* The answer, its rows in w->page when it is approved. */
const struct ledger_result *ask(struct world *w, const struct kit_actor *who, const struct arguments *args);
/* What must be approved. */
void do_it(struct world *w, const struct kit_actor *who, const struct arguments *args, struct bytes content);
void add_event(struct world *w, const struct kit_actor *who, unsigned patient, const char *note);
void add_record(struct world *w, unsigned record, unsigned patient, enum confidentiality conf);

struct arguments list_args(unsigned patient, struct bytes cursor, uint32_t limit);

struct args_log_query log_all(void);
/* Pages through to the end; counts rows, checks that indexes fall. */
unsigned count_log(struct world *w, const struct kit_actor *who, struct args_log_query query, uint32_t limit);

#endif
