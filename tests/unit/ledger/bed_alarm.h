/* A ledger of four nodes and a doctor, and what they say about alarms. */
#ifndef TESTS_UNIT_LEDGER_BED_ALARM_H
#define TESTS_UNIT_LEDGER_BED_ALARM_H

#include "tests/lib/unit.h"

#include "ledger/alarm.h"
#include "tests/lib/ledger_kit.h"

#define NONE ((struct bytes){0})

extern struct kit kit;
extern struct kit_actor doctor;

/* Before and after all tests of a program, which use one ledger. */
int open_kit(void **state);
int close_kit(void **state);

/* The reason, and in `index` the leaf; alarms_changed must follow the verdict. */
enum reason act(const struct kit_actor *who, const struct arguments *args, struct bytes content, uint64_t *index);

struct key {
    enum alarm_kind kind;
    unsigned named;
    uint64_t first;
};

/* A node's word; of a fork with the evidence. */
enum reason say(unsigned raiser, struct key k, uint64_t last, enum alarm_status status, uint64_t *index);
enum reason raise_alarm(unsigned raiser, struct key k, uint64_t *index);
enum reason repaired(unsigned raiser, struct key k);
enum reason clear(const struct kit_actor *who, uint64_t index, const char *note);

struct alarm row(uint64_t index);
size_t open_rows(struct alarm rows[static ALARMS_OPEN_MOST]);
/* By people, all that are open. */
void clear_all(void);

/* All of it once more, from the leaves alone: the same tables. A program's last test. */
void test_replay(void **state);

#endif
